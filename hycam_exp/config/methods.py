"""Every method's settings, and the table of methods: light, so that a config error answers without torch.

It lies outside `methods/` because importing that package registers its methods with PEFT, which loads torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from hycam_exp.config.dimensions import Dimensions
from hycam_exp.config.method_settings import MethodSettings
from hycam_exp.config.multi_task import (
    CoMoLSettings,
    HydraLoRASettings,
    LoRAMoESettings,
    MixLoRASettings,
    MOELoRASettings,
    MoLASettings,
    MTLLoRASettings,
    MtLoRASettings,
)
from hycam_exp.config.peft_types import PEFTSettings
from hycam_exp.runtime.require import require


@dataclass(kw_only=True)
class FullFTSettings(MethodSettings):
    """Full fine-tuning: every weight of the backbone is trained."""

    @property
    def size_fields(self) -> tuple[str, ...]:
        """It has the backbone's size."""
        return ()

    def num_parameters(self, backbone: Dimensions) -> int:
        """All of them."""
        return backbone.parameters


@dataclass(kw_only=True)
class LoRASettings(MethodSettings):
    """PEFT's own LoRA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, "method.rank", self.rank, "must be at least 1")
        require(self.alpha >= 1, "method.alpha", self.alpha, "must be at least 1")

    def num_parameters(self, backbone: Dimensions) -> int:
        """r (inputs + outputs) of every linear layer."""
        return self.rank * sum(inputs + outputs for inputs, outputs in backbone.linears)


@dataclass(kw_only=True)
class RoutingSettings:
    """How HyCAM's router starts and chooses; the released code differs from the paper in all four."""

    hard: bool
    """One module a token, with the gradient of the soft weights (straight-through)."""
    noise_in_eval: bool
    """Gumbel noise in evaluation as well."""
    trainable: bool
    """Train the router; otherwise it stays at its random initial value."""
    init: str
    """That value: kaiming_uniform (entries within 1 / sqrt(d)), or normal (deviation 0.02; released code)."""

    def __post_init__(self) -> None:
        options = ("kaiming_uniform", "normal")
        require(self.init in options, "method.routing.init", self.init, f"must be one of {', '.join(options)}")


@dataclass(kw_only=True)
class MultiLoRASettings(MethodSettings):
    """Multi-LoRA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_modules: int
    """Number of parallel LoRA modules on a layer."""

    def __post_init__(self) -> None:
        for field in ("rank", "alpha", "num_modules"):
            require(getattr(self, field) >= 1, f"method.{field}", getattr(self, field), "must be at least 1")

    def num_parameters(self, backbone: Dimensions) -> int:
        """N (r (inputs + outputs) + outputs) of every linear layer."""
        sizes = (self.rank * (inputs + outputs) + outputs for inputs, outputs in backbone.linears)
        return self.num_modules * sum(sizes)


@dataclass(kw_only=True)
class RieMoELoRASettings(MethodSettings):
    """RieMoE-LoRA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_experts: int
    """Number of LoRA experts on a layer."""
    top_k: int
    """Experts that a token uses. With 1 the gate is not trained: a single renormalised weight is always 1."""
    regularisation: float
    """delta of the Riemannian preconditioner, added to the diagonal of B^T B and A A^T."""

    def __post_init__(self) -> None:
        for field in ("rank", "alpha", "num_experts"):
            require(getattr(self, field) >= 1, f"method.{field}", getattr(self, field), "must be at least 1")
        fits = 1 <= self.top_k <= self.num_experts
        require(fits, "method.top_k", self.top_k, f"must be in 1..method.num_experts={self.num_experts}")
        require(self.regularisation > 0, "method.regularisation", self.regularisation, "must be above 0")

    def num_parameters(self, backbone: Dimensions) -> int:
        """N (r (inputs + outputs) + inputs) of every linear layer."""
        sizes = (self.rank * (inputs + outputs) + inputs for inputs, outputs in backbone.linears)
        return self.num_experts * sum(sizes)


@dataclass(kw_only=True)
class HyCAMSettings(MethodSettings):
    """HyCAM as the paper's equations state it, its ablations, and the released code's differences from it."""

    rank: int
    """Rank r of a low-rank CAM's B N A; at most the backbone's width d."""
    num_specialized: int
    """Number of specialized CAMs, the paper's N_s; 0: the shared CAM alone, without a router."""
    tau: float
    """Temperature of the Gumbel-Softmax."""
    balance_weight: float
    """Weight of the load-balancing loss, the paper's lambda."""
    shared: str
    """The shared CAM: full (d x d), low_rank (B N A), or none."""
    specialized: str
    """The specialized CAMs: low_rank (B N A) or full (d x d)."""
    layers: list[int] | None
    """Blocks that are modulated, each once, counted from 0; null: all."""
    layer_stride: int
    """Of these blocks, every such one, beginning with the first."""
    modulate: str
    """What A scales: attention_output, or residual_stream (block input and attention output; released code)."""
    routing: RoutingSettings
    train_layer_norms: bool
    """Train both layer norms of every block as well (released code)."""
    balance_scope: str
    """per_layer: the mean of the layers' balance losses; pooled: one loss over the tokens of all layers."""
    balance_masks_padding: bool
    """Padding does not count in the balance loss."""
    projection_bias: bool
    """Biases on every projection and on the router (released code); PEFT means something else by `bias`."""
    scale_numerator: float | None
    """Scales the input of a low-rank CAM's SiLU by this over the rank (released code: 32); null: not scaled."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, "method.rank", self.rank, "must be at least 1")
        require(self.num_specialized >= 0, "method.num_specialized", self.num_specialized, "must not be negative")
        require(self.tau > 0, "method.tau", self.tau, "must be above 0")
        require(self.balance_weight >= 0, "method.balance_weight", self.balance_weight, "must not be negative")
        require(self.layer_stride >= 1, "method.layer_stride", self.layer_stride, "must be at least 1")
        distinct = self.layers is None or 0 < len(self.layers) == len(set(self.layers))
        require(distinct, "method.layers", self.layers, "must name blocks, each once; null: all")
        for field, options in _HYCAM_OPTIONS.items():
            value = getattr(self, field)
            require(value in options, f"method.{field}", value, f"must be one of {', '.join(options)}")
        empty = self.shared == "none" and self.num_specialized == 0
        require(not empty, "method.shared", self.shared, "with method.num_specialized=0 there is nothing to train")
        scale = self.scale_numerator
        require(scale is None or scale > 0, "method.scale_numerator", scale, "must be above 0, or null")

    @property
    def size_fields(self) -> tuple[str, ...]:
        """There is no alpha."""
        return ("rank",)

    @property
    def is_low_rank(self) -> bool:
        """Some CAM is B N A."""
        return self.shared == "low_rank" or (self.num_specialized > 0 and self.specialized == "low_rank")

    def check_width(self, width: int) -> None:
        """B N A must not be wider inside than outside."""
        fits = self.rank <= width or not self.is_low_rank
        require(fits, "method.rank", self.rank, f"HyCAM's rank must be at most the backbone's width {width}")

    def blocks(self, num_blocks: int) -> list[int]:
        """The blocks that are modulated.

        Raises:
            ValueError: the backbone has no such block.
        """
        chosen = list(range(num_blocks)) if self.layers is None else self.layers
        for block in chosen:
            require(0 <= block < num_blocks, "method.layers", block, f"the backbone has blocks 0..{num_blocks - 1}")
        return chosen[:: self.layer_stride]

    def num_parameters(self, backbone: Dimensions) -> int:
        """d^2 + N_s (2 d r + r^2 + d) of every modulated block, with what the other fields add and leave out."""
        d, r, bias = backbone.width, self.rank, int(self.projection_bias)
        sizes = {"none": 0, "full": d * d + bias * d, "low_rank": 2 * d * r + r * r + bias * (2 * r + d)}
        router = (d + bias) if self.routing.trainable else 0
        block = sizes[self.shared] + self.num_specialized * (sizes[self.specialized] + router)
        blocks = self.blocks(backbone.num_blocks)
        norms = sum(backbone.norms[i] for i in blocks) if self.train_layer_norms else 0
        return len(blocks) * block + norms


@dataclass(kw_only=True)
class LoRAMatchedSettings(MethodSettings):
    """LoRA that has no rank of its own, but that which `match` asks for."""

    def __post_init__(self) -> None:
        require(self.match is not None, "method.match", "null", "lora_matched needs what its rank is matched to")

    @property
    def size_fields(self) -> tuple[str, ...]:
        """Alpha equals the rank."""
        return ("rank",)

    def resized(self, size: int) -> LoRASettings:
        """LoRA of a rank."""
        return LoRASettings(name=self.name, rank=size, alpha=size)

    def num_parameters(self, backbone: Dimensions) -> int:
        """Those of LoRA at that rank."""
        return self.on(backbone).num_parameters(backbone)


_HYCAM_OPTIONS = {
    "shared": ("full", "low_rank", "none"),
    "specialized": ("low_rank", "full"),
    "modulate": ("attention_output", "residual_stream"),
    "balance_scope": ("per_layer", "pooled"),
}


@dataclass(frozen=True)
class Method:
    """All facts about a method; the closed form of what it trains is `num_parameters` of its settings."""

    settings: type[MethodSettings]
    module: str
    """The module whose `attach(model, settings)` attaches the method."""
    title: str
    """What tables and figures call it: the paper's name where it has one."""
    _: KW_ONLY
    published: bool = False
    """It stands in the paper's tables of methods, under its title."""
    ablation: str | None = None
    """Its name in the paper's table of ablations, as results/published writes it; None: it does not stand there."""
    trains_backbone: bool = False
    """Every weight of the backbone is trained, and there is no adapter."""
    needs_task_ids: bool = False
    """It is told the task of every row; its scores with the task withheld stand beside those with it."""
    routed: bool = False
    """It is a mixture of LoRA modules that a router or a gate weighs."""
    quantizable: bool = True
    """It can be attached to a backbone whose linear layers are packed in four bits."""
    recomputable: bool = True
    """Activations can be computed again in the backward pass."""
    tested: bool = True
    """Tests hold that it starts as the backbone, and leaves that as it was; of another a run looks for itself, and
    measures the backbone before the method is attached."""
    unshardable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The strategies that would change its gradients, each with the reason."""


METHODS = {
    "full_ft": Method(
        FullFTSettings, "hycam_exp.methods.full_ft", "Full Finetune", published=True, trains_backbone=True,
        quantizable=False,
    ),
    "lora": Method(LoRASettings, "hycam_exp.methods.lora", "LoRA", published=True),
    "lora_matched": Method(LoRAMatchedSettings, "hycam_exp.methods.lora", "LoRA (matched)"),
    "multi_lora": Method(
        MultiLoRASettings, "hycam_exp.methods.multi_lora", "Multi LoRA", published=True, quantizable=False
    ),
    "riemoe_lora": Method(
        RieMoELoRASettings, "hycam_exp.methods.riemoe_lora", "RieMoE-LoRA", published=True, routed=True,
        quantizable=False, unshardable={"zero3": "cannot carry its Riemannian preconditioning"},
    ),
    "hycam": Method(HyCAMSettings, "hycam_exp.methods.hycam", "HyCAM", published=True, ablation="hycam"),
    "hycam_shared_only": Method(
        HyCAMSettings, "hycam_exp.methods.hycam", "Shared-CAM-Only", ablation="shared_cam_only"
    ),
    "hycam_full_spec": Method(HyCAMSettings, "hycam_exp.methods.hycam", "HyCAM-FullSpec", ablation="full_spec"),
    "hycam_spec_only": Method(HyCAMSettings, "hycam_exp.methods.hycam", "HyCAM-SpecOnly", ablation="spec_only"),
    "hycam_inverse_peft": Method(
        HyCAMSettings, "hycam_exp.methods.hycam", "HyCAM-InversePEFT", ablation="inverse_peft"
    ),
    "hycam_released": Method(HyCAMSettings, "hycam_exp.methods.hycam", "HyCAM (released)"),
    "hydralora": Method(HydraLoRASettings, "hycam_exp.methods.hydralora", "HydraLoRA", routed=True, quantizable=False),
    "comol": Method(CoMoLSettings, "hycam_exp.methods.comol", "CoMoL", routed=True, quantizable=False),
    "mtl_lora": Method(
        MTLLoRASettings, "hycam_exp.methods.mtl_lora", "MTL-LoRA", needs_task_ids=True, routed=True, quantizable=False
    ),
    "moelora": Method(
        MOELoRASettings, "hycam_exp.methods.moelora", "MOELoRA", needs_task_ids=True, routed=True, quantizable=False,
        unshardable=dict.fromkeys(("fsdp", "zero3"), "would cut up its gate, which every layer reads"),
    ),
    "loramoe": Method(LoRAMoESettings, "hycam_exp.methods.loramoe", "LoRAMoE", routed=True, quantizable=False),
    "mixlora": Method(
        MixLoRASettings, "hycam_exp.methods.mixlora", "MixLoRA", routed=True, quantizable=False,
        unshardable={"zero3": "would have cut up an MLP's router before it is read"},
    ),
    "mtlora": Method(MtLoRASettings, "hycam_exp.methods.mtlora", "mtLoRA", routed=True, quantizable=False),
    "mola": Method(MoLASettings, "hycam_exp.methods.mola", "MoLA", routed=True, quantizable=False),
    "peft": Method(
        PEFTSettings, "hycam_exp.methods.peft_types", "PEFT", quantizable=False, tested=False,
        unshardable=dict.fromkeys(("fsdp", "zero3"), "would cut up weights that PEFT's types may read at any time"),
    ),
}  # fmt: skip


def method_named(name: str) -> Method:
    """The facts about a method by its name: one that is none of `METHODS` is a file of `method=peft` with its own."""
    return METHODS.get(name, METHODS["peft"])


def method_of(settings: MethodSettings) -> Method:
    """The facts about the method of some settings; those of PEFT's types share an entry, and add what is their own."""
    entry = method_named(settings.name)
    if not isinstance(settings, PEFTSettings):
        return entry
    own = dict(settings.facts)
    return dataclasses.replace(entry, **own | {"unshardable": {**entry.unshardable, **own.get("unshardable", {})}})
