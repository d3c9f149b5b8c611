"""RieMoE-LoRA as a PEFT method: a mixture of LoRA experts on every linear layer, with Riemannian gradients.

See: Sun et al. 2025, arXiv 2502.15828; the maths is in `gating` and `riemannian`.

    model = get_peft_model(model, RieMoELoRAConfig(r=64, lora_alpha=64, num_experts=5, top_k=2))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from peft import get_peft_model
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.methods import RieMoELoRASettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.gating import gate_weights, mix_experts
from hycam_exp.methods.riemannian import precondition
from hycam_exp.methods.stacked import ExpertsLinear, StackedConfig, StackedModel, side_by_side
from hycam_exp.methods.width import warn_above_width


@dataclass
class RieMoELoRAConfig(StackedConfig):
    """RieMoE-LoRA's settings for PEFT; the defaults are the paper's, alpha and top_k are ours."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_experts")

    num_experts: int = 5
    top_k: int = 2
    regularisation: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("RIEMOE_LORA")
        fits = 1 <= self.top_k <= self.num_experts
        require(fits, "top_k", self.top_k, f"must be in 1..num_experts={self.num_experts}")
        require(self.regularisation > 0, "regularisation", self.regularisation, "must be above 0")


class RieMoELoRALinear(ExpertsLinear):
    """y = W x + sum_i g_i (alpha / r) B_i A_i x, g the renormalised top k of softmax(W_g x); W is out x in.

    Trains N (r (in + out) + in) parameters for N experts of rank r.
    """

    adapter_layer_names = ("riemoe_a", "riemoe_b", "riemoe_gate")
    routing_listener: Callable[[Tensor], None] | None = None
    """Called by every forward with the gate weights (B, L, N), detached; recomputed activations call it again."""

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, gate = self.parameters_of(adapter_name)
        config = self.config[adapter_name]
        g = gate_weights(x, gate, config.top_k)  # (..., N)
        if self.routing_listener is not None:
            self.routing_listener(g.detach())
        down, up = precondition(a, b, config.regularisation)
        codes = config.scale * F.linear(x, down.flatten(0, 1)).unflatten(-1, a.shape[:2])  # (..., N, r)
        return mix_experts(codes, g, side_by_side(up))  # (..., out)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(NOT_MERGEABLE)

    def unmerge(self) -> None:
        raise ValueError(NOT_MERGEABLE)


NOT_MERGEABLE = (
    "RieMoE-LoRA cannot be merged into the backbone: its gate depends on the input, so no fixed weight equals it"
)


class RieMoELoRAModel(StackedModel):
    """The tuner of RieMoE-LoRA."""

    prefix = "riemoe_"
    tuner_layer_cls = RieMoELoRALinear

    def _check_merge_allowed(self) -> None:
        raise ValueError(NOT_MERGEABLE)

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(NOT_MERGEABLE)


def peft_config(settings: RieMoELoRASettings) -> RieMoELoRAConfig:
    """A cell's settings in PEFT's words."""
    return RieMoELoRAConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        num_experts=settings.num_experts,
        top_k=settings.top_k,
        regularisation=settings.regularisation,
    )


def attach(model: nn.Module, settings: RieMoELoRASettings) -> nn.Module:
    """The model with RieMoE-LoRA on every linear layer but the output embedding; warns as LoRA does."""
    adapted = get_peft_model(model, peft_config(settings))
    warn_above_width("RieMoE-LoRA", settings.rank, adapted, RieMoELoRALinear)
    return adapted


register("riemoe_lora", RieMoELoRAConfig, RieMoELoRAModel)
