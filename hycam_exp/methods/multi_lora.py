"""Multi-LoRA as a PEFT method: parallel LoRA modules on every linear layer, each scaled by a learnt vector.

See: Wang et al. 2023, MultiLoRA, arXiv 2311.11501.

    model = get_peft_model(model, MultiLoRAConfig(r=64, lora_alpha=64, num_modules=5))
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from peft import get_peft_model
from peft.tuners.tuners_utils import check_adapters_to_merge
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.methods import MultiLoRASettings
from hycam_exp.methods.bridge import register
from hycam_exp.methods.stacked import StackedConfig, StackedLinear, StackedModel, kaiming, side_by_side
from hycam_exp.methods.width import warn_above_width


@dataclass
class MultiLoRAConfig(StackedConfig):
    """Multi-LoRA's settings for PEFT; the defaults are the paper's, alpha is ours."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_modules")

    num_modules: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MULTI_LORA")


class MultiLoRALinear(StackedLinear):
    """y = W x + (alpha / r) sum_i s_i (.) B_i A_i x, for a linear layer W of out x in.

    Trains N (r (in + out) + out) parameters for N modules of rank r.
    """

    adapter_layer_names = ("multilora_a", "multilora_b", "multilora_s")
    stacked_vectors = ("multilora_s",)

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MultiLoRAConfig) -> tuple[tuple[int, ...], ...]:
        num, r, d_in, d_out = config.num_modules, config.r, base_layer.in_features, base_layer.out_features
        return (num, r, d_in), (num, d_out, r), (num, d_out)

    def initialise(self, adapter_name: str) -> None:
        """A and B Kaiming uniform; s stays zero, so that the output starts as W x and s alone has a gradient."""
        a, b, s = self.parameters_of(adapter_name)
        kaiming(a)
        kaiming(b)
        if not self.config[adapter_name].init_weights:
            nn.init.normal_(s.data)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b = self._factors(adapter_name)
        return F.linear(F.linear(x, a), b)  # (..., out)

    def _factors(self, adapter_name: str) -> tuple[Tensor, Tensor]:
        """The stack as one LoRA: A as (N r, in), and s and the scale folded into B as (out, N r)."""
        a, b, s = self.parameters_of(adapter_name)
        return a.flatten(0, 1), side_by_side((self.config[adapter_name].scale * s).unsqueeze(-1) * b)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters' updates to the base weight; `safe_merge` refuses one that is not finite."""
        for adapter_name in check_adapters_to_merge(self, adapter_names):
            if adapter_name in self.config:
                merged = self._shifted(adapter_name, 1)
                if safe_merge and not torch.isfinite(merged).all():
                    raise ValueError(
                        f"NaNs detected in the merged weights. The adapter {adapter_name} seems to be broken"
                    )
                self.base_layer.weight.data = merged
                self.merged_adapters.append(adapter_name)

    def unmerge(self) -> None:
        """Subtract what `merge` added: the weight as it was, up to the rounding of its dtype."""
        while self.merged_adapters:
            self.base_layer.weight.data = self._shifted(self.merged_adapters.pop(), -1)

    @torch.no_grad()
    def _shifted(self, adapter_name: str, sign: int) -> Tensor:
        """The base weight and the signed update, summed in the wider dtype of both, in the weight's."""
        a, b = self._factors(adapter_name)
        weight = self.base_layer.weight
        return (weight + sign * (b @ a).to(weight.device)).to(weight.dtype)


class MultiLoRAModel(StackedModel):
    """The tuner of Multi-LoRA."""

    prefix = "multilora_"
    tuner_layer_cls = MultiLoRALinear


def peft_config(settings: MultiLoRASettings) -> MultiLoRAConfig:
    """A cell's settings in PEFT's words."""
    return MultiLoRAConfig(
        task_type="CAUSAL_LM", r=settings.rank, lora_alpha=settings.alpha, num_modules=settings.num_modules
    )


def attach(model: nn.Module, settings: MultiLoRASettings) -> nn.Module:
    """The model with Multi-LoRA on every linear layer but the output embedding; warns as LoRA does."""
    adapted = get_peft_model(model, peft_config(settings))
    warn_above_width("Multi-LoRA", settings.rank, adapted, MultiLoRALinear)
    return adapted


register("multi_lora", MultiLoRAConfig, MultiLoRAModel)
