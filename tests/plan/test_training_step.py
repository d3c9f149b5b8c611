"""How a trainer cuts a step."""

import pytest

from hycam_exp.config.settings import compose
from hycam_exp.data.batches import Schedule
from hycam_exp.plan.accelerators import GPUS
from hycam_exp.plan.memory import Step
from hycam_exp.plan.shape import shape_of
from hycam_exp.plan.training_step import fits, step_of
from tests.plan.architectures import LLAMA2_7B

SHAPE, H100 = shape_of(LLAMA2_7B), GPUS["h100_80gb"]


def step(*overrides: str) -> Step:
    return step_of(compose("model=llama3_8b", "method=lora", *overrides), SHAPE, H100)


@pytest.mark.parametrize(("micro", "devices"), [(5, 1), (1, 1), (16, 1), (3, 2), (64, 4)])
def test_micro_batches_are_those_of_the_schedule(micro: int, devices: int) -> None:
    """As many of a rank as training has in a step of 16 records, with the rows of the largest; one row alone has no
    padding."""
    found = step("trainer=ddp", f"trainer.devices={devices}", f"trainer.micro_batch_size={micro}")
    schedule = Schedule([1200] * 16, 1200, 16, min(micro, 16), epochs=1, seed=0, world_size=devices)
    (window,) = schedule.windows(0)
    batches = [schedule.micro_batches(window, rank) for rank in range(devices)]
    assert {len(of_rank) for of_rank in batches} == {found.accumulation}
    assert max(len(rows) for of_rank in batches for rows in of_rank) == found.batch.rows
    assert found.batch.padded == (found.batch.rows > 1)


def test_the_strategy_and_the_devices_of_all_nodes_are_the_trainers():
    """A step knows its strategy, and on how many devices it is; types are those of one device."""
    found = step("trainer=zero2", "trainer.num_nodes=2", "trainer.offload=true")
    assert (found.strategy, found.devices, found.accumulation, found.offload) == ("zero2", 16, 1, True)
    assert (found.width.trained, step("trainer=fsdp").width.trained) == (4, 4)


def test_what_cannot_run_does_not_fit():
    """RieMoE-LoRA fits under ZeRO 2, and under ZeRO 3 it is not asked how much it needs."""
    runs = [compose("model=llama3_8b", "method=riemoe_lora", f"trainer={name}") for name in ("zero2", "zero3")]
    assert [fits(run, SHAPE, H100) for run in runs] == [True, False]
