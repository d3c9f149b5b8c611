"""CoMoL as a PEFT method: one A and one B on every linear layer, and between them small cores mixed for each token.

See: CoMoL, arXiv 2603.00573. Written from the equations; the authors' repository has no licence and was not opened for
it.

    model = get_peft_model(model, CoMoLConfig(r=16, lora_alpha=16, num_cores=8))

Where it departs from the authors' code: no dropout (theirs is also on the merged core and on the product); the router's
softmax is in float32; the codes are mixed, not the cores, which is the same function. As in their code, and unlike
their paper, no core comes from a singular value decomposition.
"""

from dataclasses import dataclass
from typing import ClassVar

from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import CoMoLSettings
from hycam_exp.methods.bridge import register
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import StackedConfig, kaiming


@dataclass
class CoMoLConfig(StackedConfig):
    """CoMoL's settings for PEFT; the number of cores is the paper's."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_cores")

    num_cores: int = 8
    core_router: bool = True
    """The router reads A x; otherwise x itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("COMOL")


class CoMoLLinear(RoutedLinear):
    """y = W x + (alpha / r) B M^T A x with M = sum_i g_i M_i and g = softmax(W_g A x); W is out x in.

    Trains r (in + out) + N r^2 + N r parameters for N cores of r x r; N in instead of N r where the router reads x.
    """

    adapter_layer_names = ("comol_a", "comol_core", "comol_gate", "comol_b")

    @staticmethod
    def shapes(base_layer: nn.Linear, config: CoMoLConfig) -> tuple[tuple[int, ...], ...]:
        num, r, d_in, d_out = config.num_cores, config.r, base_layer.in_features, base_layer.out_features
        return (r, d_in), (num, r, r), (num, r if config.core_router else d_in), (d_out, r)

    def initialise(self, adapter_name: str) -> None:
        """A, the cores and the router Kaiming uniform; B stays zero, so that the output starts as W x."""
        a, core, gate, b = self.parameters_of(adapter_name)
        kaiming(core)
        for matrix in (a, gate) if self.config[adapter_name].init_weights else (a, gate, b):
            kaiming(matrix.unsqueeze(0))

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, core, gate, b = self.parameters_of(adapter_name)
        config = self.config[adapter_name]
        codes = F.linear(x, a)  # (..., r)
        g = self.heard(softmax(router_logits(codes if config.core_router else x, gate)), x)  # (..., N)
        cored = F.linear(codes, core.mT.flatten(0, 1)).unflatten(-1, core.shape[:2])  # (..., N, r): code M_i
        mixed = (g.unsqueeze(-1) * cored).sum(-2).to(codes.dtype)  # (..., r)
        return F.linear(config.scale * mixed, b)  # (..., out)


class CoMoLModel(RoutedModel):
    """The tuner of CoMoL."""

    prefix = "comol_"
    tuner_layer_cls = CoMoLLinear


def peft_config(settings: CoMoLSettings) -> CoMoLConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(CoMoLConfig, settings)


def attach(model: nn.Module, settings: CoMoLSettings) -> nn.Module:
    """The model with CoMoL on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "CoMoL", CoMoLLinear)


register("comol", CoMoLConfig, CoMoLModel)
