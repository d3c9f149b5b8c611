"""Work of one training step, in floating-point operations of the matrix products; everything else is left out.

See: Kaplan et al. 2020, arXiv 2001.08361, section 2.1 (2 per weight and token forward, 4 backward), split here into 2
for the gradient of the input and 2 for that of the weight, which a frozen weight does not need; Dao 2023,
arXiv 2307.08691, section 3.1 (attention: two products forward, five backward, one of them a recomputation).
"""

from dataclasses import dataclass

from hycam_exp.config.methods import (
    FullFTSettings,
    HyCAMSettings,
    LoRASettings,
    MethodSettings,
    MultiLoRASettings,
    RieMoELoRASettings,
)
from hycam_exp.plan.attached import resolved
from hycam_exp.plan.shape import Batch, Shape

ATTENTION_FORWARD, ATTENTION_BACKWARD = 2, 5  # products of queries x keys x width of a head, each 2 a multiplication


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of a forward and a backward pass over one micro-batch."""

    forward: int
    backward: int
    recomputed: int
    """Of the blocks, again, under activation checkpointing."""

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.recomputed


def work(shape: Shape, settings: MethodSettings, batch: Batch, checkpointing: bool) -> Work:
    """What one micro-batch takes, padding included."""
    settings, blocks, n = resolved(settings, shape), shape.num_blocks, batch.tokens
    first = min(settings.blocks(blocks)) if isinstance(settings, HyCAMSettings) else 0
    behind = blocks if checkpointing else blocks - first  # blocks that a gradient goes through
    weights = sum(inputs * outputs for inputs, outputs in shape.linears.values())
    head = 2 * n * shape.vocabulary * shape.width
    linear, square = 2 * n * weights, 2 * n * batch.length * shape.queries
    forward, backward = _added(shape, settings, n)
    full = 2 if isinstance(settings, FullFTSettings) else 1  # gradients of the input, and of the weight
    blockwise = blocks * (linear + ATTENTION_FORWARD * square) + forward
    return Work(
        forward=blockwise + head,
        backward=full * (behind * linear + head) + behind * ATTENTION_BACKWARD * square + backward,
        recomputed=blockwise if checkpointing else 0,
    )


def _added(shape: Shape, settings: MethodSettings, tokens: int) -> tuple[int, int]:
    """Forward and backward work of what the method adds: every product has two backward, for both of its factors."""
    sides = sum(inputs + outputs for inputs, outputs in shape.linears.values())
    inputs = sum(inputs for inputs, _ in shape.linears.values())
    if isinstance(settings, HyCAMSettings):
        return _modulation(shape, settings, tokens)
    per_token = 0
    if isinstance(settings, LoRASettings):
        per_token = settings.rank * sides
    elif isinstance(settings, MultiLoRASettings):
        per_token = settings.num_modules * settings.rank * sides
    elif isinstance(settings, RieMoELoRASettings):
        per_token = settings.num_experts * (settings.rank * sides + inputs)
    forward = 2 * tokens * per_token * shape.num_blocks
    return forward, 2 * forward


def _modulation(shape: Shape, settings: HyCAMSettings, tokens: int) -> tuple[int, int]:
    """N is folded into A once a micro-batch; B's products are computed again in the backward pass."""
    d, r, num = shape.width, settings.rank, settings.num_specialized
    low, full = r * d, d * d
    shared = {"none": 0, "full": full, "low_rank": 2 * low}[settings.shared]
    codes = num * low if settings.specialized == "low_rank" else 0
    up = num * (low if settings.specialized == "low_rank" else full)
    folds = r * r * d * (num * (settings.specialized == "low_rank") + (settings.shared == "low_rank"))
    once = tokens * (shared + codes + num * d) + folds
    blocks = len(settings.blocks(shape.num_blocks))
    return 2 * blocks * (once + tokens * up), 2 * blocks * (2 * once + 3 * tokens * up)
