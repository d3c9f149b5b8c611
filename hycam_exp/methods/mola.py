"""MoLA as a PEFT method: the best two of several LoRA experts on every linear layer, more of them in higher blocks.

See: MoLA, arXiv 2402.08562. Written from the equations; the authors' repository has no licence and was not opened for
it.

    model = get_peft_model(model, MoLAConfig(r=8, lora_alpha=16, experts_by_depth=[2, 4, 6, 8], top_k=2))

Where it departs from the authors' code: no dropout, and none of its balance loss, which none of their commands turns
on. The published version favours the middle blocks: `experts_by_depth` takes any numbers.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import MoLASettings, experts_at
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.gating import gate_weights
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix
from hycam_exp.methods.stacked import ExpertsLinear, StackedConfig


@dataclass
class MoLAConfig(StackedConfig):
    """MoLA's settings for PEFT; the defaults are the paper's, but for the rank."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "top_k")

    experts_by_depth: list[int] = field(default_factory=lambda: [2, 4, 6, 8])
    """LoRA experts of a layer in each of so many equal parts of the blocks, from the first to the last."""
    top_k: int = 2
    """Experts that a token uses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MOLA")
        numbers = self.experts_by_depth
        require(bool(numbers) and min(numbers) >= 1, "experts_by_depth", numbers, "must be numbers of experts")
        law = f"must be at most the fewest of experts_by_depth={numbers}"
        require(self.top_k <= min(numbers), "top_k", self.top_k, law)

    def at(self, position: int, block: int, num_blocks: int) -> "StackedConfig":
        """The number of experts of the layer's block alone."""
        return self.placed(experts_by_depth=[experts_at(self.experts_by_depth, block, num_blocks)])


class MoLALinear(ExpertsLinear, RoutedLinear):
    """y = W x + sum_i g_i (alpha / r) B_i A_i x, g the renormalised top k of softmax(W_g x); W is out x in.

    Trains N (r (in + out) + in) parameters for the N experts of its block.
    """

    adapter_layer_names = ("mola_a", "mola_b", "mola_gate")

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MoLAConfig) -> tuple[tuple[int, ...], ...]:
        (num,) = config.experts_by_depth
        r, d_in, d_out = config.r, base_layer.in_features, base_layer.out_features
        return (num, r, d_in), (num, d_out, r), (num, d_in)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, gate = self.parameters_of(adapter_name)
        config = self.config[adapter_name]
        g = self.heard(gate_weights(x, gate, config.top_k), x)  # (..., N)
        codes = config.scale * F.linear(x, a.flatten(0, 1)).unflatten(-1, a.shape[:2])  # (..., N, r)
        return mix(codes, g, b)  # (..., out)


class MoLAModel(RoutedModel):
    """The tuner of MoLA."""

    prefix = "mola_"
    tuner_layer_cls = MoLALinear


def peft_config(settings: MoLASettings) -> MoLAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(MoLAConfig, settings)


def attach(model: nn.Module, settings: MoLASettings) -> nn.Module:
    """The model with MoLA on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "MoLA", MoLALinear)


register("mola", MoLAConfig, MoLAModel)
