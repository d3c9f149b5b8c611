"""What an accelerator has: memory, operations and bytes a second; and the share of them that training reaches."""

import os
import time
from dataclasses import dataclass
from functools import cache

GIB = 2**30
RESERVED = GIB
"""Of a GPU's memory, for the CUDA context, cuBLAS's workspaces and what the allocator cannot use."""
UTILISATION = 0.4
"""Of the peak: between the 0.3 to 0.46 of PaLM's table 3 (Chowdhery et al. 2022, arXiv 2204.02311); --utilisation."""


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


# NVIDIA's data sheets: H100 SXM5, A100 SXM4, Ada GPU architecture (GeForce RTX 4090); memory as the driver reports it.
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
    """This machine's memory, and what a product of two float32 matrices of 512 x 512 reaches on it now."""
    speed = _measured()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Accelerator(name="cpu", memory=memory, narrow=speed, wide=speed, bandwidth=None, gpu=False)


def _measured(side: int = 512, seconds: float = 0.2) -> float:
    """The best of as many products as fit into the time: other programs and the first calls make it slower."""
    import numpy as np

    matrix, best = np.ones((side, side), dtype=np.float32), float("inf")
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or best == float("inf"):
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
