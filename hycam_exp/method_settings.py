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
    "hycam": Method(HyCAMSettings, "hycam_exp.methods.hycam"),
}
