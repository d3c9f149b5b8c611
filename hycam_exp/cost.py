"""What a run costs: seconds by phase, peak memory, and the hardware it ran on."""

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Clock:
    """Seconds by phase, on top of what earlier attempts at the same cell took."""

    def __init__(self, before: dict[str, float] | None = None) -> None:
        self.seconds: dict[str, float] = dict(before or {})

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start


def peak_memory() -> dict[str, Any]:
    """The process's peak in bytes: allocated GPU memory where one is used, otherwise resident memory, labelled so."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return {"kind": "cuda_allocated", "bytes": torch.cuda.max_memory_allocated()}
    return {"kind": "rss", "bytes": _peak_resident()}


def _peak_resident() -> int:
    """The kernel's high-water mark; getrusage's number can be that of the process which started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(accelerator: str) -> dict[str, Any]:
    """The device that computed, and the host around it."""
    import torch

    device = torch.cuda.get_device_name() if accelerator == "gpu" else _processor()
    return {"device": device, "cpus": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()}
