"""Devices."""

from hycam_exp.plan.devices import GPUS, NAMES, accelerator


def test_a_gpu_leaves_a_gibibyte():
    """An 80 GB H100 shows 81,559 MiB."""
    assert accelerator("h100_80gb").memory == (81559 - 1024) * 2**20
    assert all(gpu.narrow > gpu.wide for gpu in GPUS.values())


def test_the_cpu_is_this_machine():
    """Its memory is the machine's, its speed is measured, and there is no data sheet for its bandwidth."""
    device = accelerator("cpu")
    assert "cpu" in NAMES
    assert device.memory > 2**30
    assert device.narrow == device.wide > 1e8
    assert device.bandwidth is None
