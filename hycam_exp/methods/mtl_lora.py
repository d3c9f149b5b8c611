"""MTL-LoRA as a PEFT method: one A, a small matrix for each task, and several B weighed by the task, on linear layers.

See: MTL-LoRA, arXiv 2410.09437, and the authors' pUmpKin-Co/MTL-LoRA (MIT). Written from the equations.

    model = get_peft_model(model, MTLLoRAConfig(r=8, lora_alpha=16, num_up=3, tau=0.1, tasks=["a", "b"]))
    model(input_ids, task_index=torch.tensor([0, 1]))

Where it departs from the authors: a row of an unknown task, for which theirs has no rule, gets the mean over tasks of
their matrices and of their weights; no dropout. As in their code the update is scaled by alpha / r, which their
equation leaves out, and the matrices are full (`diagonal` is their other form).
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import MTLLoRASettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix, softmax
from hycam_exp.methods.stacked import StackedConfig, kaiming


@dataclass
class MTLLoRAConfig(StackedConfig):
    """MTL-LoRA's settings for PEFT; the defaults are those of the authors' script for Llama2-7B."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_up")

    num_up: int = 3
    tau: float = 0.1
    tasks: list[str] = field(default_factory=list)
    """The names that a task index counts."""
    diagonal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MTL_LORA")
        require(self.tau > 0, "tau", self.tau, "must be above 0")
        require(0 < len(self.tasks) == len(set(self.tasks)), "tasks", self.tasks, "must name the tasks, each once")


class MTLLoRALinear(RoutedLinear):
    """y = W x + (alpha / r) sum_i g_ti B_i L_t A x with g_t = softmax(w_t / tau), t being the row's task.

    Trains r in + T r^2 + N r out + T N parameters for N up-projections and T tasks; T r where L_t is diagonal.
    """

    adapter_layer_names = ("mtllora_a", "mtllora_task", "mtllora_b", "mtllora_w")

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MTLLoRAConfig) -> tuple[tuple[int, ...], ...]:
        num, r, tasks = config.num_up, config.r, len(config.tasks)
        matrix = (tasks, r) if config.diagonal else (tasks, r, r)
        return (r, base_layer.in_features), matrix, (num, base_layer.out_features, r), (tasks, num)

    def initialise(self, adapter_name: str) -> None:
        """A and w Kaiming uniform, every L the identity; B stays zero, so that the output starts as W x."""
        a, matrix, b, w = self.parameters_of(adapter_name)
        kaiming(a.unsqueeze(0))
        kaiming(w.unsqueeze(0))
        matrix.data += 1.0 if matrix.dim() == 2 else torch.eye(a.shape[0], device=matrix.device, dtype=matrix.dtype)
        if not self.config[adapter_name].init_weights:
            kaiming(b)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, matrix, b, w = self.parameters_of(adapter_name)
        config, state = self.config[adapter_name], self.forward_state
        codes = config.scale * F.linear(x, a)  # (B, L, r)
        of_task = state.for_rows(matrix)  # (B, r, r), or (B, r)
        if config.diagonal:
            codes = codes * of_task.unsqueeze(-2)
        else:
            codes = codes @ of_task.mT.to(codes.dtype)  # L_t A x: (B, L, r)
        g = self.heard(state.for_rows(softmax(w / config.tau)).unsqueeze(-2), x)  # (B, 1, N)
        return mix(codes.unsqueeze(-2), g, b)  # (B, L, out)


class MTLLoRAModel(RoutedModel):
    """The tuner of MTL-LoRA."""

    prefix = "mtllora_"
    tuner_layer_cls = MTLLoRALinear


def peft_config(settings: MTLLoRASettings) -> MTLLoRAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(MTLLoRAConfig, settings)


def attach(model: nn.Module, settings: MTLLoRASettings) -> nn.Module:
    """The model with MTL-LoRA on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "MTL-LoRA", MTLLoRALinear)


register("mtl_lora", MTLLoRAConfig, MTLLoRAModel)
