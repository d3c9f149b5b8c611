"""LoRAMoE as a PEFT method: a dense mixture of LoRA experts on the linear layers of the blocks' MLPs.

See: Dou et al. 2024, arXiv 2312.09979. Written from the equations; the authors' repository has no licence and was not
opened for it.

    model = get_peft_model(model, LoRAMoEConfig(r=4, lora_alpha=32, num_experts=8))

The localized balancing constraint sends rows of some tasks to the first half of the experts, and those of all others to
the second. It is off by default, as in the authors' script. Where it departs from them: no dropout; padding does not
count in the constraint (`balance_masks_padding`); it is added in training alone, once for a forward pass; and a single
row, for which theirs is set to 0, is not special. The variance over the mean's square is their code's, the variance
over the mean (`balance_squared_mean=False`) their paper's.
"""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import LoRAMoESettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.recognition import mlp_linears
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import ExpertsLinear, StackedConfig


@dataclass
class LoRAMoEConfig(StackedConfig):
    """LoRAMoE's settings for PEFT; the defaults are those of the authors' script, but for the rank."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_experts")

    num_experts: int = 8
    target_modules: set[str] | list[str] | str | None = None
    """Names of linear layers, or a regular expression; None: those of all MLPs, recognised in the model."""
    balance_weight: float = 0.0
    """beta, the weight of the localized balancing constraint; 0: off."""
    balance_delta: float = 0.1
    tasks: list[str] = field(default_factory=list)
    """The names that a task index counts, which the constraint needs."""
    knowledge_tasks: list[str] = field(default_factory=list)
    """Those whose rows go to the first half of the experts."""
    balance_masks_padding: bool = True
    balance_squared_mean: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("LORAMOE")
        require(self.balance_weight >= 0, "balance_weight", self.balance_weight, "must not be negative")
        if self.balance_weight:
            require(self.num_experts % 2 == 0, "num_experts", self.num_experts, "must be even for the two halves")
            some = bool(self.knowledge_tasks) and set(self.knowledge_tasks) < set(self.tasks)
            require(some, "knowledge_tasks", self.knowledge_tasks, f"must be some of tasks={self.tasks}")


class LoRAMoELinear(ExpertsLinear, RoutedLinear):
    """y = W x + (alpha / r) sum_i g_i B_i A_i x with g = softmax(W_g x), for a linear layer W of out x in.

    Trains N (r (in + out) + in) parameters for N experts of rank r.
    """

    adapter_layer_names = ("loramoe_a", "loramoe_b", "loramoe_gate")

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, gate = self.parameters_of(adapter_name)
        config = self.config[adapter_name]
        g = self.heard(softmax(router_logits(x, gate)), x)  # (..., N)
        if config.balance_weight and self.forward_state.training:
            self.forward_state.collect(adapter_name, self._imbalance(config, g))
        codes = config.scale * F.linear(x, a.flatten(0, 1)).unflatten(-1, a.shape[:2])  # (..., N, r)
        return mix(codes, g, b)  # (..., out)

    def _imbalance(self, config: LoRAMoEConfig, g: Tensor) -> Tensor:
        """The constraint on one layer's weights g (B, L, N): the variance of Z = I * Q over its mean, or mean's square.

        Q is a row's weights summed over its tokens, I 1 + delta for the half of the experts that its task goes to and
        1 - delta for the other half; a row of an unknown task goes to neither, and has I = 1.
        """
        state = self.forward_state
        mask = state.mask if config.balance_masks_padding else None
        importance = (g if mask is None else g * mask.unsqueeze(-1)).sum(-2)  # (B, N)
        kinds = torch.tensor([1.0 if task in config.knowledge_tasks else -1.0 for task in config.tasks] + [0.0])
        unknown = torch.full(importance.shape[:1], -1, device=g.device)
        index = unknown if state.task_index is None else state.task_index.to(g.device)
        kind = kinds.to(importance)[index].unsqueeze(-1)  # (B, 1)
        halves = torch.ones(config.num_experts).to(importance)  # (N,)
        halves[config.num_experts // 2 :] = -1.0
        z = (1 + config.balance_delta * kind * halves) * importance  # (B, N)
        return z.var() / (z.mean().square() if config.balance_squared_mean else z.mean())

    @staticmethod
    def combined(config: LoRAMoEConfig, values: list[Tensor]) -> Tensor:
        return config.balance_weight * torch.stack([value.to(values[0].device) for value in values]).sum()


class LoRAMoEModel(RoutedModel):
    """The tuner of LoRAMoE."""

    prefix = "loramoe_"
    tuner_layer_cls = LoRAMoELinear

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config  # the MLPs are found in the model itself

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        assert isinstance(peft_config, LoRAMoEConfig)
        if peft_config.target_modules is None:
            paths = {re.sub(r"\.\d+\.", r".#.", name) for name in mlp_linears(model)}
            peft_config.target_modules = "|".join(re.escape(path).replace(r"\#", r"\d+") for path in sorted(paths))
        super()._prepare_model(peft_config, model)


def peft_config(settings: LoRAMoESettings) -> LoRAMoEConfig:
    """A cell's settings in PEFT's words; without the constraint it is not told the task."""
    config = in_pefts_words(LoRAMoEConfig, settings)
    config.tasks = config.tasks if config.balance_weight else []
    return config


def attach(model: nn.Module, settings: LoRAMoESettings) -> nn.Module:
    """The model with LoRAMoE on the linear layers of the MLPs; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "LoRAMoE", LoRAMoELinear)


register("loramoe", LoRAMoEConfig, LoRAMoEModel)
