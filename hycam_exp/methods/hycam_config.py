"""HyCAM's settings for PEFT, in PEFT's words where it has them."""

from dataclasses import dataclass
from typing import ClassVar

from peft.utils.peft_types import PeftType

from hycam_exp.methods.adapter_file import CheckedConfig, require

OPTIONS = {
    "shared": ("full", "low_rank", "none"),
    "specialized": ("low_rank", "full"),
    "modulate": ("attention_output", "residual_stream"),
    "router_init": ("kaiming_uniform", "normal"),
    "balance_scope": ("per_layer", "pooled"),
}


@dataclass
class HyCAMConfig(CheckedConfig):
    """The defaults are the paper's; its rank, and how the balance loss averages, are open there and ours.

    `save_pretrained` writes them into adapter_config.json; a value that cannot be is refused here.
    """

    earlier: ClassVar[dict[str, str]] = {
        "rank": "r",
        "layers": "layers_to_transform",
        "layer_stride": "layers_to_transform",
        "routing": "hard_routing, noise_in_eval, train_router and router_init",
    }

    r: int = 64
    """Rank of a low-rank CAM's B N A, at most the model's hidden size."""
    num_specialized: int = 5
    """Number of specialized CAMs, the paper's N_s; 0: the shared CAM alone, without a router."""
    tau: float = 0.5
    """Temperature of the Gumbel-Softmax."""
    balance_weight: float = 0.1
    """Weight of the load-balancing loss, the paper's lambda."""
    target_modules: set[str] | list[str] | str | None = None
    """Names of attention modules, or a regular expression; None: those of all blocks, recognised in the model."""
    exclude_modules: set[str] | list[str] | str | None = None
    """Names of attention modules that are left alone, or a regular expression."""
    layers_to_transform: list[int] | int | None = None
    """The blocks that are modulated, counted from 0; None: all."""
    layers_pattern: list[str] | str | None = None
    """The name of the list of blocks, where a model has several lists."""
    modules_to_save: list[str] | None = None
    """Further modules that are trained whole and saved with the adapter."""
    init_weights: bool = True
    """Start as the identity; False: at random, off the identity, for tests."""
    shared: str = "full"
    """The shared CAM: full (d x d), low_rank (B N A), or none."""
    specialized: str = "low_rank"
    """The specialized CAMs: low_rank (B N A) or full (d x d)."""
    modulate: str = "attention_output"
    """What A scales: attention_output, or residual_stream (block input and attention output; released code)."""
    hard_routing: bool = False
    """One module a token, with the gradient of the soft weights (straight-through; released code)."""
    noise_in_eval: bool = False
    """Gumbel noise in evaluation as well (released code)."""
    train_router: bool = True
    """Train the router; otherwise it stays at its random initial value (released code)."""
    router_init: str = "kaiming_uniform"
    """That value: kaiming_uniform (entries within 1 / sqrt(d)), or normal (deviation 0.02; released code)."""
    train_layer_norms: bool = False
    """Train both layer norms of every modulated block as well (released code)."""
    balance_scope: str = "per_layer"
    """per_layer: the mean of the layers' balance losses; pooled: one loss over the tokens of all layers."""
    balance_masks_padding: bool = True
    """Padding does not count in the balance loss."""
    projection_bias: bool = False
    """Biases on every projection and on the router (released code)."""
    scale_numerator: float | None = None
    """Scales the input of a low-rank CAM's SiLU by this over r (released code: 32); None: not scaled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("HYCAM")
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), list):
                setattr(self, name, set(getattr(self, name)))
        self._check_numbers()
        self._check_blocks()
        for name, options in OPTIONS.items():
            require(getattr(self, name) in options, name, getattr(self, name), f"must be one of {', '.join(options)}")
        all_linear = self.target_modules == "all-linear"
        require(not all_linear, "target_modules", self.target_modules, "HyCAM modulates attention modules; None: all")
        empty = self.shared == "none" and self.num_specialized == 0
        require(not empty, "shared", self.shared, "with num_specialized=0 there is nothing to train")

    def _check_numbers(self) -> None:
        require(self.r >= 1, "r", self.r, "must be at least 1")
        require(self.num_specialized >= 0, "num_specialized", self.num_specialized, "must not be negative")
        require(self.tau > 0, "tau", self.tau, "must be above 0")
        require(self.balance_weight >= 0, "balance_weight", self.balance_weight, "must not be negative")
        scale = self.scale_numerator
        require(scale is None or scale > 0, "scale_numerator", scale, "must be above 0, or None")

    def _check_blocks(self) -> None:
        blocks, pattern = self.layers_to_transform, self.layers_pattern
        named = blocks is None or isinstance(blocks, int) or 0 < len(blocks) == len(set(blocks))
        require(named, "layers_to_transform", blocks, "must name blocks, each once; None: all")
        by_names = blocks is None or not isinstance(self.target_modules, str)
        require(by_names, "layers_to_transform", blocks, "needs target_modules by their names, or None")
        require(not pattern or blocks is not None, "layers_pattern", pattern, "needs layers_to_transform")

    @property
    def is_low_rank(self) -> bool:
        """Some CAM is B N A."""
        return self.shared == "low_rank" or (self.num_specialized > 0 and self.specialized == "low_rank")

    def check_model(self, width: int, num_blocks: int) -> None:
        """Raise a `ValueError` unless the settings fit a model of `num_blocks` blocks of a hidden size `width`."""
        fits = self.r <= width or not self.is_low_rank
        require(fits, "r", self.r, f"must be at most the model's hidden size, its width {width}")
        chosen = self.layers_to_transform
        for block in () if chosen is None else [chosen] if isinstance(chosen, int) else chosen:
            there = 0 <= block < num_blocks
            require(there, "layers_to_transform", block, f"the model has blocks 0..{num_blocks - 1}")
