"""What a run costs: seconds by phase, peak memory, and the hardware it ran on."""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hycam_exp.runtime.files import write_atomically


class Clock:
    """Seconds by phase of the work that a result rests on.

    What an earlier attempt left and this one goes on from counts (`kept`; training's checkpoints have theirs); what
    is done again counts once.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(phase, time.perf_counter() - start)

    @contextmanager
    def kept(self, phase: str, path: Path) -> Iterator[Callable[[], None]]:
        """A phase whose results are kept as they come: call what is given after each, to keep the seconds in `path`
        for an attempt that goes on from there.

        Raises:
            ValueError: the file of an earlier attempt is damaged.
        """
        try:
            before = float(path.read_bytes()) if path.is_file() else 0.0
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); move {path.parent} away to do this phase again") from error
        start = time.perf_counter()

        def keep() -> None:
            write_atomically(path, repr(before + time.perf_counter() - start).encode())

        with self(phase):
            yield keep
        self._add(phase, before)

    def _add(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds


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


def usable_cores() -> int:
    """The cores that this process may use: in a job or a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware(accelerator: str) -> dict[str, Any]:
    """The device that computed, and the host around it."""
    import torch

    device = torch.cuda.get_device_name() if accelerator == "gpu" else _processor()
    return {"device": device, "cpus": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()}
