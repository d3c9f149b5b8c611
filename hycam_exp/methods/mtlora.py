"""mtLoRA as a PEFT method: one A and several B beside the MLP of every block, weighed by groups of output dimensions.

See: Tian, Ledent, Sun 2026, arXiv 2603.01526. Written from the equations.

    model = get_peft_model(model, MtLoRAConfig(r=16, lora_alpha=64, num_experts=16, num_groups=2))

Where it departs from the authors: no dropout; padding does not count in the balance loss (`balance_masks_padding`); the
MLP's site alone (theirs also stands beside the attention); the router is one linear layer, as in their code, where
their paper speaks of an MLP. The spectral term is off: in their scripts it acts in one micro-step of a run, here, with
`spectral_weight`, at every step, with its weights w held constant and averaged over experts, which is another method.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import MtLoRASettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.recognition import hidden_size, mlp_modules
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import StackedConfig, kaiming


@dataclass
class MtLoRAConfig(StackedConfig):
    """mtLoRA's settings for PEFT; the defaults are the authors', but for the rank and the spectral term."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_experts", "num_groups")

    num_experts: int = 16
    num_groups: int = 2
    """Groups of output dimensions; it divides the model's hidden size."""
    target_modules: set[str] | list[str] | str | None = None
    """Names of MLPs, or a regular expression; None: those of all blocks, recognised in the model."""
    balance_weight: float = 0.01
    balance_masks_padding: bool = True
    spectral_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MTLORA")
        for name in ("balance_weight", "spectral_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")


class MtLoRALinear(RoutedLinear):
    """y = F(u) + (alpha / r) sum_i P_i(u) * B_i A u for an MLP F of width d; P_i is the same within a group.

    P is a softmax over the N experts inside each of g groups. Trains r d (1 + N) + d N g parameters.
    """

    adapter_layer_names = ("mtlora_a", "mtlora_b", "mtlora_router")

    @staticmethod
    def width_of(base_layer: Any) -> tuple[int, int]:
        linears = [module for module in base_layer.modules() if isinstance(module, nn.Linear)]
        return linears[0].in_features, linears[-1].out_features

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MtLoRAConfig) -> tuple[tuple[int, ...], ...]:
        d_in, d_out = MtLoRALinear.width_of(base_layer)
        return (config.r, d_in), (config.num_experts, d_out, config.r), (config.num_groups * config.num_experts, d_in)

    def initialise(self, adapter_name: str) -> None:
        """A and the router Kaiming uniform; B stays zero, so that the output starts as F(u)."""
        a, b, router = self.parameters_of(adapter_name)
        kaiming(a.unsqueeze(0))
        kaiming(router.unsqueeze(0))
        if not self.config[adapter_name].init_weights:
            kaiming(b)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, router = self.parameters_of(adapter_name)
        config = self.config[adapter_name]
        groups, num = config.num_groups, config.num_experts
        p = softmax(router_logits(x, router).unflatten(-1, (groups, num)))  # (..., g, N)
        self.heard(p.mean(-2), x)
        if self.forward_state.training:
            self._collect(adapter_name, config, p, b)
        codes = config.scale * F.linear(x, a)  # (..., r)
        weighted = (p.unsqueeze(-1) * codes[..., None, None, :]).to(codes.dtype).flatten(-2)  # (..., g, N r)
        up = b.unflatten(1, (groups, -1)).permute(1, 2, 0, 3).flatten(-2)  # (g, d / g, N r)
        parts = [F.linear(weighted[..., group, :], up[group]) for group in range(groups)]  # g of (..., d / g)
        return torch.cat(parts, -1)  # (..., d)

    def _collect(self, adapter_name: str, config: MtLoRAConfig, p: Tensor, b: Tensor) -> None:
        """Keep this layer's weighted losses: the weights' imbalance over their tokens, and the spectral term."""
        mask = self.forward_state.mask if config.balance_masks_padding else None
        kept = torch.ones_like(p[..., 0, 0]) if mask is None else mask.to(p.dtype)
        means = (p * kept[..., None, None]).flatten(0, -3).sum(0) / kept.sum().clamp_min(1)  # (g, N)
        total = config.balance_weight * means.var(correction=0) / means.mean().square()
        if config.spectral_weight:
            total = total + config.spectral_weight * spectral_term(b)
        if config.balance_weight or config.spectral_weight:
            self.forward_state.collect(adapter_name, total)

    @staticmethod
    def combined(config: MtLoRAConfig, values: list[Tensor]) -> Tensor:
        return torch.stack([value.to(values[0].device) for value in values]).mean()


def spectral_term(b: Tensor) -> Tensor:
    """The mean over experts of ||w w^T * (B^T B - c I)||_F^2, with w = exp(-sigma / mean sigma) and c = ||B||_F^2 / r.

    b is (N, d, r); sigma are B's singular values, from the largest down, w is held constant, and 1 where B is 0.
    """
    gram = b.mT @ b  # (N, r, r)
    with torch.no_grad():
        sigma = torch.linalg.eigvalsh(gram.double()).clamp_min(0).sqrt().flip(-1)  # (N, r)
        w = (-sigma / sigma.mean(-1, keepdim=True).clamp_min(torch.finfo(sigma.dtype).tiny)).exp().to(b.dtype)
    c = gram.diagonal(dim1=-2, dim2=-1).mean(-1)  # (N,)
    off = gram - c[:, None, None] * torch.eye(b.shape[-1], device=b.device, dtype=b.dtype)
    return (w.unsqueeze(-1) * w.unsqueeze(-2) * off).square().sum((-2, -1)).mean()


class MtLoRAModel(RoutedModel):
    """The tuner of mtLoRA: wraps MLPs."""

    prefix = "mtlora_"
    tuner_layer_cls = MtLoRALinear
    candidates = "MLPs"

    def candidates_in(self, model: nn.Module) -> set[str]:
        return {name.rsplit(".", 1)[-1] for name in mlp_modules(model)}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config  # the MLPs are found in the model itself

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        assert isinstance(peft_config, MtLoRAConfig)
        width, groups = hidden_size(model), peft_config.num_groups
        require(width % groups == 0, "num_groups", groups, f"must divide the model's hidden size {width}")
        if peft_config.target_modules is None:
            peft_config.target_modules = self.candidates_in(model)
        super()._prepare_model(peft_config, model)

    def _check_target(self, key: str, module: nn.Module) -> None:
        found = [inside for inside in module.modules() if isinstance(inside, nn.Linear)]
        if isinstance(module, nn.Linear) or not found or not type(module).__name__.endswith("MLP"):
            raise ValueError(f"target_modules names {key}, a {type(module).__name__}: mtLoRA stands beside MLPs")

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        setattr(parent, child_name, new_module)  # an MLP has no weight for PEFT's own way


def peft_config(settings: MtLoRASettings) -> MtLoRAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(MtLoRAConfig, settings)


def attach(model: nn.Module, settings: MtLoRASettings) -> nn.Module:
    """The model with mtLoRA beside every MLP; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "mtLoRA", MtLoRALinear)


register("mtlora", MtLoRAConfig, MtLoRAModel)
