"""What a device has, and what a strategy leaves on it: shares of weights, gradients and optimiser, and its buffers.

Weights keep the types that they have on one device, under every strategy.

See: NVIDIA's data sheets of the H100 SXM5 and A100 SXM4 and its Ada GPU architecture (GeForce RTX 4090); Rajbhandari et
al. 2020, arXiv 1910.02054, section 3.1 (ZeRO's stages; an optimiser of 12 bytes a parameter); DeepSpeed's configuration
page (buckets, overlap_comm, stage3_max_live_parameters, offload) and its DeepSpeedZeroOptimizer (what is cloned);
PyTorch's documentation of DistributedDataParallel and fully_shard.
"""

import os
import time
from dataclasses import dataclass
from functools import cache

from hycam_exp.config.settings import ZERO_BUCKET
from hycam_exp.plan.sizes import Bytes, Shape

GIB = 2**30
RESERVED = GIB
"""Bytes of a GPU that the CUDA context and cuBLAS's workspaces take, or that the allocator cannot use."""
UTILISATION = 0.4
"""The share of a device's peak that training reaches, unless --utilisation says otherwise: PaLM's table 3 has 0.3 to
0.46 (Chowdhery et al. 2022, arXiv 2204.02311)."""


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """A device to plan for."""

    name: str
    memory: int
    """Bytes that a program can allocate."""
    narrow: float
    """Operations a second of dense products in bfloat16, summed in float32."""
    wide: float
    """The same in float32."""
    bandwidth: float | None
    """Bytes a second from its memory; None: not known."""
    gpu: bool = True


# memory as the driver reports it
_GPUS = (
    Accelerator(name="h100_80gb", memory=81559 * 2**20 - RESERVED, narrow=989.4e12, wide=66.9e12, bandwidth=3.35e12),
    Accelerator(name="a100_80gb", memory=81920 * 2**20 - RESERVED, narrow=312e12, wide=19.5e12, bandwidth=2.039e12),
    Accelerator(name="a100_40gb", memory=40960 * 2**20 - RESERVED, narrow=312e12, wide=19.5e12, bandwidth=1.555e12),
    Accelerator(name="rtx4090", memory=24564 * 2**20 - RESERVED, narrow=165.2e12, wide=82.6e12, bandwidth=1.008e12),
)
GPUS = {gpu.name: gpu for gpu in _GPUS}
NAMES = (*GPUS, "cpu")


def accelerator(name: str) -> Accelerator:
    """The device of that name; `cpu` is this machine."""
    return this_machine() if name == "cpu" else GPUS[name]


@cache
def this_machine() -> Accelerator:
    """This machine's memory, and what a product of two float32 matrices of 512 x 512 reaches on it now.

    The best of as many products as fit into 0.2 s counts: other programs and the first calls make it slower.
    """
    import numpy as np

    side, best = 512, float("inf")
    matrix = np.ones((side, side), dtype=np.float32)
    end = time.perf_counter() + 0.2
    while (start := time.perf_counter()) < end or best == float("inf"):
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    speed = 2 * side**3 / best
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Accelerator(name="cpu", memory=memory, narrow=speed, wide=speed, bandwidth=None, gpu=False)


SHARDED = {
    "zero1": ("optimiser",),
    "zero2": ("optimiser", "gradients"),
    "zero3": ("optimiser", "gradients", "weights"),
    "fsdp": ("optimiser", "gradients", "weights"),
}
"""What a strategy splits over the devices."""
ADAMW_STATES = 2  # the moments of the gradient and of its square (Loshchilov and Hutter, arXiv 1711.05101)
MASTER = 4  # bytes: DeepSpeed's optimiser works on a float32 copy of what is trained, and on moments of that type
MAX_LIVE = 1_000_000_000  # parameters: DeepSpeed's stage3_max_live_parameters
BLOCKS = 2  # under FSDP: one is computed, one is fetched


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """A strategy over `devices` of which each holds a share."""

    strategy: str
    devices: int
    offload: bool
    width: Bytes

    @property
    def zero(self) -> bool:
        """Whether the strategy is one of DeepSpeed's."""
        return self.strategy.startswith("zero")

    def split(self, size: int, part: str) -> int:
        """A part's bytes that one device is responsible for, wherever they lie."""
        return -(-size // self.devices) if part in SHARDED.get(self.strategy, ()) else size

    def weights(self, size: int) -> int:
        """Bytes of weights that stay on the device."""
        return 0 if self.offload and self.strategy == "zero3" else self.split(size, "weights")

    def gradients(self, size: int) -> int:
        """Bytes of gradients that stay on the device; offload takes what is split."""
        return 0 if self._offloaded_gradients else self.split(size, "gradients")

    @property
    def _offloaded_gradients(self) -> bool:
        return self.offload and "gradients" in SHARDED[self.strategy]

    def states(self, trained: int) -> int:
        """Bytes of one share of the optimiser: AdamW's moments, and under ZeRO the copy that it updates."""
        each = MASTER * (1 + ADAMW_STATES) if self.zero else ADAMW_STATES * self.width.trained
        return self.split(trained * each, "optimiser")

    def optimiser(self, trained: int) -> int:
        """The share that lies on the device."""
        return 0 if self.offload else self.states(trained)

    def update(self, trained: int) -> int:
        """Temporaries of an update of all tensors at once; under ZeRO also the share's gradients, flattened."""
        if self.offload:
            return 0
        each = 2 * MASTER if self.zero else self.width.trained
        return self.split(trained * each, "optimiser")

    def host(self, weights: int, trained: int) -> int:
        """Bytes of the host's memory, for one device: its share of the optimiser and of the gradients that it works on.

        For zero3 also its share of the weights, for the others a buffer of those that were updated.
        """
        if not self.offload:
            return 0
        updated = self.split(trained * self.width.trained, "optimiser")
        kept = self.split(weights, "weights") if self.strategy == "zero3" else updated
        return kept + self.states(trained) + self.split(trained * MASTER, "optimiser")

    def gathered(self, shape: Shape, weights: int) -> int:
        """Bytes of weights that are whole on the device for a while, all of them at most."""
        c = self.width.frozen
        embedding = shape.vocabulary * shape.width
        if self.strategy == "fsdp":  # the root keeps its own from forward to backward
            root = embedding * (1 if shape.tied else 2) + shape.width
            return min(weights, (BLOCKS * shape.block_parameters + root) * c)
        if self.strategy == "zero3":
            return min(weights, max(MAX_LIVE, embedding) * c)
        return 0

    def buckets(self, gradients: int, largest: int) -> int:
        """Bytes of buffers that gradients are reduced in; `largest` is a block's gradients, or the embeddings'."""
        if self.strategy == "ddp":
            return gradients  # gradient_as_bucket_view is False
        if self.strategy == "fsdp":
            return 2 * largest  # whole gradients, and the reduce-scatter's input
        if not self.zero:
            return 0
        overlapping = 1 if self.strategy == "zero3" else 2  # overlap_comm is on
        return overlapping * ZERO_BUCKET * self.width.trained
