"""The settings of the field's multi-task methods, beside those of the paper's own comparison. Standard library only.

See: docs/methods.md for their sources. r is `rank`, N the number of experts, heads or cores, T that of tasks.
"""

from dataclasses import dataclass

from hycam_exp.config.dimensions import Dimensions
from hycam_exp.config.method_settings import MethodSettings, require, require_tasks


@dataclass(kw_only=True)
class HydraLoRASettings(MethodSettings):
    """HydraLoRA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_heads: int
    """Up-projections B of a layer, which share one A."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_heads")

    def num_parameters(self, backbone: Dimensions) -> int:
        """r inputs + N r outputs + N inputs of every linear layer."""
        r, num = self.rank, self.num_heads
        return sum(r * inputs + num * r * outputs + num * inputs for inputs, outputs in backbone.linears)


@dataclass(kw_only=True)
class CoMoLSettings(MethodSettings):
    """CoMoL on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_cores: int
    """Matrices of r x r between A and B."""
    core_router: bool
    """The router reads A x; otherwise x itself."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_cores")

    def num_parameters(self, backbone: Dimensions) -> int:
        """r (inputs + outputs) + N r^2 + N r of every linear layer; without the core router N inputs, not N r."""
        r, num = self.rank, self.num_cores
        return sum(
            r * (inputs + outputs) + num * r * r + num * (r if self.core_router else inputs)
            for inputs, outputs in backbone.linears
        )


@dataclass(kw_only=True)
class MTLLoRASettings(MethodSettings):
    """MTL-LoRA on every linear layer except the output embedding; it is told the task."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_up: int
    """Up-projections B of a layer."""
    tau: float
    """Temperature of the softmax over a task's weights of them."""
    tasks: list[str]
    """The tasks that have a matrix and weights of their own; any other gets the mean of all."""
    diagonal: bool
    """A task's matrix is diagonal."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_up")
        require(self.tau > 0, "method.tau", self.tau, "must be above 0")
        require_tasks(self.name, self.tasks)

    def num_parameters(self, backbone: Dimensions) -> int:
        """r inputs + T r^2 + N r outputs + T N of every linear layer; T r where the matrices are diagonal."""
        r, num, tasks = self.rank, self.num_up, len(self.tasks)
        matrix = r if self.diagonal else r * r
        return sum(r * inputs + tasks * (matrix + num) + num * r * outputs for inputs, outputs in backbone.linears)


@dataclass(kw_only=True)
class MOELoRASettings(MethodSettings):
    """MOELoRA on every linear layer except the output embedding; it is told the task."""

    rank: int
    """Of all experts of a layer together."""
    alpha: int
    """The update is scaled by alpha / rank."""
    num_experts: int
    """LoRA experts of a layer, of rank / num_experts each."""
    tasks: list[str]
    """The tasks that have an embedding; any other gets the mean of all."""
    embedding: int
    """Width of a task's embedding."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_experts", "embedding")
        even = self.rank % self.num_experts == 0
        require(even, "method.rank", self.rank, f"must be divisible by method.num_experts={self.num_experts}")
        require_tasks(self.name, self.tasks)

    def num_parameters(self, backbone: Dimensions) -> int:
        """r (inputs + outputs) of every linear layer, and for all of them one gate of (T + 1 + N) embeddings."""
        gate = self.embedding * (len(self.tasks) + 1 + self.num_experts)
        return gate + self.rank * sum(inputs + outputs for inputs, outputs in backbone.linears)


@dataclass(kw_only=True)
class LoRAMoESettings(MethodSettings):
    """LoRAMoE on the linear layers of the blocks' MLPs."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_experts: int
    """LoRA experts of a layer."""
    balance_weight: float
    """beta, the weight of the localized balancing constraint; 0: off. With it, training is told the task."""
    balance_delta: float
    """How much more than 1 an expert of a row's own kind counts, and how much less one of the other kind."""
    tasks: list[str]
    """The tasks of the data; looked at by the constraint only."""
    knowledge_tasks: list[str]
    """Those whose rows go to the first half of the experts; those of the other tasks go to the second."""
    balance_masks_padding: bool
    """Padding does not count in the constraint (it does in the authors' code)."""
    balance_squared_mean: bool
    """The constraint divides the variance by the mean's square (the authors' code), not by the mean (their paper)."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_experts")
        require(self.balance_weight >= 0, "method.balance_weight", self.balance_weight, "must not be negative")
        require(0 <= self.balance_delta <= 1, "method.balance_delta", self.balance_delta, "must be in [0, 1]")
        for task in self.knowledge_tasks:
            known = task in self.tasks
            require(known, "method.knowledge_tasks", task, f"method.tasks is [{', '.join(self.tasks)}]")
        if self.balance_weight:
            halves = self.num_experts % 2 == 0
            require(halves, "method.num_experts", self.num_experts, "must be even for the constraint's two halves")
            both = 0 < len(set(self.knowledge_tasks)) < len(self.tasks)
            shown = f"[{', '.join(self.knowledge_tasks)}]"
            require(both, "method.knowledge_tasks", shown, "must name some of the tasks, not all, for the constraint")

    def num_parameters(self, backbone: Dimensions) -> int:
        """N (r (inputs + outputs) + inputs) of every linear layer of an MLP."""
        sizes = (self.rank * (inputs + outputs) + inputs for inputs, outputs in backbone.mlp_linears)
        return self.num_experts * sum(sizes)


@dataclass(kw_only=True)
class MoLASettings(MethodSettings):
    """MoLA on every linear layer except the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    experts_by_depth: list[int]
    """LoRA experts of a layer in each of so many equal parts of the blocks, from the first to the last."""
    top_k: int
    """Experts that a token uses."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "top_k")
        shown = f"[{', '.join(map(str, self.experts_by_depth))}]"
        some = bool(self.experts_by_depth) and min(self.experts_by_depth) >= 1
        require(some, "method.experts_by_depth", shown, "must be numbers of experts, each at least 1")
        fits = self.top_k <= min(self.experts_by_depth)
        require(fits, "method.top_k", self.top_k, f"must be at most the fewest of method.experts_by_depth={shown}")

    def num_parameters(self, backbone: Dimensions) -> int:
        """N (r (inputs + outputs) + inputs) of every linear layer, N being that of its block."""
        per_block = len(backbone.linears) // backbone.num_blocks
        sizes = [self.rank * (inputs + outputs) + inputs for inputs, outputs in backbone.linears]
        numbers = (experts_at(self.experts_by_depth, i // per_block, backbone.num_blocks) for i in range(len(sizes)))
        return sum(num * size for num, size in zip(numbers, sizes, strict=True))


@dataclass(kw_only=True)
class MtLoRASettings(MethodSettings):
    """mtLoRA beside the MLP of every block."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_experts: int
    """Up-projections B of a block, which share one A."""
    num_groups: int
    """Groups of output dimensions, each with routing weights of its own; it divides the backbone's width."""
    balance_weight: float
    """Weight of the squared coefficient of variation of the mean routing weights."""
    balance_masks_padding: bool
    """Padding does not count in it (it does in the authors' code)."""
    spectral_weight: float
    """Weight of the spectral term, at every step (the authors' scripts compute it once in a run); 0: off."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_experts", "num_groups")
        require(self.balance_weight >= 0, "method.balance_weight", self.balance_weight, "must not be negative")
        require(self.spectral_weight >= 0, "method.spectral_weight", self.spectral_weight, "must not be negative")

    def check_width(self, width: int) -> None:
        """Groups are of one size."""
        fits = width % self.num_groups == 0
        require(fits, "method.num_groups", self.num_groups, f"must divide the backbone's width {width}")

    def num_parameters(self, backbone: Dimensions) -> int:
        """r d (1 + N) + d N g of every block."""
        d, num = backbone.width, self.num_experts
        return backbone.num_blocks * d * (self.rank * (1 + num) + num * self.num_groups)


@dataclass(kw_only=True)
class MixLoRASettings(MethodSettings):
    """MixLoRA: every MLP a mixture of experts, and LoRA on all other linear layers but the output embedding."""

    rank: int
    alpha: int
    """The update is scaled by alpha / rank."""
    num_experts: int
    """Experts of an MLP: the frozen MLP, each time with a LoRA of its own on all its linear layers."""
    top_k: int
    """Experts that a token uses."""
    balance_weight: float
    """Weight of the load-balancing loss, the paper's a."""
    balance_scope: str
    """pooled: one loss over the tokens of all layers (the authors' code); per_layer: the mean of the layers'."""

    def __post_init__(self) -> None:
        self.require_positive("rank", "alpha", "num_experts")
        fits = 1 <= self.top_k <= self.num_experts
        require(fits, "method.top_k", self.top_k, f"must be in 1..method.num_experts={self.num_experts}")
        require(self.balance_weight >= 0, "method.balance_weight", self.balance_weight, "must not be negative")
        scopes = ("pooled", "per_layer")
        known = self.balance_scope in scopes
        require(known, "method.balance_scope", self.balance_scope, f"must be one of {', '.join(scopes)}")

    def num_parameters(self, backbone: Dimensions) -> int:
        """r (inputs + outputs) of every linear layer, N times that of an MLP's, and N d of every block."""
        every, mlp = (sum(i + o for i, o in sizes) for sizes in (backbone.linears, backbone.mlp_linears))
        router = self.num_experts * backbone.width * backbone.num_blocks
        return self.rank * (every + (self.num_experts - 1) * mlp) + router


def experts_at(experts_by_depth: list[int], block: int, num_blocks: int) -> int:
    """The number of experts in a block."""
    return experts_by_depth[block * len(experts_by_depth) // num_blocks]
