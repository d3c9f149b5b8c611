"""What a run costs: seconds by phase, peak memory, hardware."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hycam_exp.runtime import cost
from hycam_exp.runtime.cost import Clock, usable_cores


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The readings of a clock, to be filled in."""
    readings: list[float] = []
    monkeypatch.setattr(cost.time, "perf_counter", lambda: readings.pop(0))
    return readings


def test_clock_adds_up_phases(ticks: list[float]) -> None:
    """A phase's seconds are those between its begin and end, summed over its occurrences."""
    ticks += [10.0, 12.5, 20.0, 21.0, 30.0, 30.25]
    clock = Clock()
    for phase in ("data", "train", "data"):
        with clock(phase):
            pass
    assert clock.seconds == {"data": 2.75, "train": 1.0}


def test_seconds_of_what_was_kept_count_once(ticks: list[float], tmp_path: Path) -> None:
    """An attempt that ends after its second result leaves the seconds until then; the next one adds its own to them,
    and leaves the sum."""
    path = tmp_path / "seconds"
    ticks += [0.0, 0.5, 3.0, 7.0, 9.0]
    first = Clock()
    with contextlib.suppress(KeyError), first.kept("generate", path) as keep:
        keep()
        keep()
        raise KeyError
    assert float(path.read_text()) == 7.0
    ticks += [20.0, 20.0, 21.5, 22.0]
    second = Clock()
    with second.kept("generate", path) as keep:
        keep()
    assert second.seconds == {"generate": 9.0}
    assert float(path.read_text()) == 8.5


def test_phase_that_fails_is_counted(ticks: list[float]) -> None:
    """The seconds until an error count, and the error goes on."""
    ticks += [1.0, 4.0]
    clock = Clock()
    with pytest.raises(KeyError), clock("train"):
        raise KeyError
    assert clock.seconds == {"train": 3.0}


def test_phases_may_be_nested(ticks: list[float]) -> None:
    """An inner phase's seconds are in the outer's as well."""
    ticks += [0.0, 1.0, 3.0, 7.0]
    clock = Clock()
    with clock("outer"), clock("inner"):
        pass
    assert clock.seconds == {"inner": 2.0, "outer": 7.0}


PEAK = """
import json, subprocess, sys
from types import SimpleNamespace
sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))  # light, and without a GPU
from hycam_exp.runtime.cost import peak_memory
held = bytearray(int(sys.argv[1]) * 2**20)
held[::4096] = b"x" * len(held[::4096])
if len(sys.argv) > 2:
    subprocess.run([sys.executable, "-c", *sys.argv[2:]], check=True)
else:
    del held
    print(json.dumps(peak_memory()))
"""


def peak(*arguments: str) -> float:
    """The peak in MiB that a process reports: after holding so many MiB, or that of one which it starts meanwhile."""
    command = [sys.executable, "-c", PEAK, *arguments]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["kind"] == "rss"
    return found["bytes"] / 2**20


def test_peak_memory_is_the_most_that_was_resident() -> None:
    """Memory that was held and given back counts, in bytes, and is labelled resident memory."""
    assert peak("200") - peak("0") == pytest.approx(200, abs=3)


def test_peak_memory_is_not_that_of_the_process_before() -> None:
    """What the process that started this one held does not count."""
    assert peak("200", PEAK, "0") == pytest.approx(peak("0"), abs=3)


@pytest.mark.parametrize(("available", "allocated", "kind"), [(True, 7, "cuda_allocated"), (True, 0, "rss")])
def test_peak_memory_is_the_gpus_where_one_was_used(
    monkeypatch: pytest.MonkeyPatch, available: bool, allocated: int, kind: str
) -> None:
    """A GPU that is there and was not allocated on does not count."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: allocated)
    found = cost.peak_memory()
    assert found["kind"] == kind
    assert (found["bytes"] == allocated) is (kind == "cuda_allocated")


def test_hardware_of_a_cpu_run() -> None:
    """The processor's name, and what torch may use of it."""
    found = cost.hardware("cpu")
    assert found.pop("device").strip()
    assert found == {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()}


def test_hardware_of_a_gpu_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is the GPU, by name."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    assert cost.hardware("gpu")["device"] == "NVIDIA A100"


def test_usable_cores_are_those_that_the_process_may_run_on():
    """Bound to one core, a process has one, however many the machine has."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    allowed = os.sched_getaffinity(0)
    assert usable_cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
