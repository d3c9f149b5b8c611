"""Every method's settings, and the table of methods: light, so that a config error answers without torch.

It lies outside `methods/` because importing that package registers its methods with PEFT, which loads torch.
"""

from dataclasses import dataclass


def require(holds: bool, field: str, value: object, law: str) -> None:
    """Raise a `ValueError` that names the field, its value and the law it breaks."""
    if not holds:
        raise ValueError(f"{field}={value}: {law}")


@dataclass(kw_only=True)
class MethodSettings:
    """What every method has."""

    name: str

    def check_width(self, width: int) -> None:
        """Raise a `ValueError` if the method does not fit a backbone of hidden size `width`."""


@dataclass(kw_only=True)
class FullFTSettings(MethodSettings):
    """Full fine-tuning: every weight of the backbone is trained."""


@dataclass(kw_only=True)
class LoRASettings(MethodSettings):
    """PEFT's own LoRA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, "method.rank", self.rank, "must be at least 1")
        require(self.alpha >= 1, "method.alpha", self.alpha, "must be at least 1")


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


@dataclass(kw_only=True)
class HyCAMSettings(MethodSettings):
    """HyCAM as the paper's equations state it."""

    rank: int
    """Rank r of a specialized CAM's B N A; at most the backbone's width d."""
    num_specialized: int
    """Number of specialized CAMs, the paper's N_s."""
    tau: float
    """Temperature of the Gumbel-Softmax."""
    balance_weight: float
    """Weight of the load-balancing loss, the paper's lambda."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, "method.rank", self.rank, "must be at least 1")
        require(self.num_specialized >= 1, "method.num_specialized", self.num_specialized, "must be at least 1")
        require(self.tau > 0, "method.tau", self.tau, "must be above 0")
        require(self.balance_weight >= 0, "method.balance_weight", self.balance_weight, "must not be negative")

    def check_width(self, width: int) -> None:
        """B N A must not be wider inside than outside."""
        require(
            self.rank <= width, "method.rank", self.rank, f"HyCAM's rank must be at most the backbone's width {width}"
        )


@dataclass(frozen=True)
class Method:
    """A line of `METHODS`: the settings' type, and the module whose `attach(model, settings)` attaches it."""

    settings: type[MethodSettings]
    module: str
    trains_backbone: bool = False


METHODS = {
    "full_ft": Method(FullFTSettings, "hycam_exp.methods.full_ft", trains_backbone=True),
    "lora": Method(LoRASettings, "hycam_exp.methods.lora"),
    "multi_lora": Method(MultiLoRASettings, "hycam_exp.methods.multi_lora"),
    "riemoe_lora": Method(RieMoELoRASettings, "hycam_exp.methods.riemoe_lora"),
    "hycam": Method(HyCAMSettings, "hycam_exp.methods.hycam"),
}
