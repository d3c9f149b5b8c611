"""HydraLoRA as a PEFT method: one A and several heads B on every linear layer, weighed by a router for each token.

See: Tian et al. 2024, arXiv 2404.19245, Eqs. 3 and 4. Written from the equations; the authors' repository has no
licence and was not opened for it.

    model = get_peft_model(model, HydraLoRAConfig(r=8, lora_alpha=32, num_heads=3))

Where it departs from the authors: no dropout (theirs is 0.05 on x, drawn anew for each head); the softmax is in float32
as there, but no norm of the backbone is cast to float16; their paper counts its parameters without the router's.
"""

from dataclasses import dataclass
from typing import ClassVar

from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import HydraLoRASettings
from hycam_exp.methods.bridge import register
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import StackedConfig, kaiming


@dataclass
class HydraLoRAConfig(StackedConfig):
    """HydraLoRA's settings for PEFT; five heads are ours."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_heads")

    num_heads: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("HYDRALORA")


class HydraLoRALinear(RoutedLinear):
    """y = W x + (alpha / r) sum_i g_i B_i A x with g = softmax(W_g x), for a linear layer W of out x in.

    Trains r in + N r out + N in parameters for N heads of rank r.
    """

    adapter_layer_names = ("hydralora_a", "hydralora_b", "hydralora_gate")

    @staticmethod
    def shapes(base_layer: nn.Linear, config: HydraLoRAConfig) -> tuple[tuple[int, ...], ...]:
        num, r, d_in, d_out = config.num_heads, config.r, base_layer.in_features, base_layer.out_features
        return (r, d_in), (num, d_out, r), (num, d_in)

    def initialise(self, adapter_name: str) -> None:
        """A and the router Kaiming uniform; B stays zero, so that the output starts as W x."""
        a, b, gate = self.parameters_of(adapter_name)
        kaiming(a.unsqueeze(0))
        kaiming(gate.unsqueeze(0))
        if not self.config[adapter_name].init_weights:
            kaiming(b)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, gate = self.parameters_of(adapter_name)
        g = self.heard(softmax(router_logits(x, gate)), x)  # (..., N)
        codes = self.config[adapter_name].scale * F.linear(x, a)  # (..., r)
        return mix(codes.unsqueeze(-2), g, b)  # (..., out)


class HydraLoRAModel(RoutedModel):
    """The tuner of HydraLoRA."""

    prefix = "hydralora_"
    tuner_layer_cls = HydraLoRALinear


def peft_config(settings: HydraLoRASettings) -> HydraLoRAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(HydraLoRAConfig, settings)


def attach(model: nn.Module, settings: HydraLoRASettings) -> nn.Module:
    """The model with HydraLoRA on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "HydraLoRA", HydraLoRALinear)


register("hydralora", HydraLoRAConfig, HydraLoRAModel)
