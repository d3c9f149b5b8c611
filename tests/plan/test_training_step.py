"""How a trainer cuts a step."""

from hycam_exp.config import compose
from hycam_exp.plan.accelerators import GPUS
from hycam_exp.plan.memory import Step
from hycam_exp.plan.shape import shape_of
from hycam_exp.plan.training_step import fits, step_of
from tests.plan.architectures import LLAMA2_7B

SHAPE, H100 = shape_of(LLAMA2_7B), GPUS["h100_80gb"]


def step(*overrides: str) -> Step:
    return step_of(compose("model=llama3_8b", "method=lora", *overrides), SHAPE, H100)


def test_micro_batches_are_those_of_the_schedule():
    """Global 16 in micro-batches of at most 5: four of four rows; one row alone has no padding."""
    found = step("trainer.micro_batch_size=5")
    assert (found.batch.rows, found.accumulation, found.batch.padded) == (4, 4, True)
    assert not step("trainer.micro_batch_size=1").batch.padded


def test_the_strategy_and_the_devices_of_all_nodes_are_the_trainers():
    """A step knows its strategy, and on how many devices it is; types are those of one device."""
    found = step("trainer=zero2", "trainer.num_nodes=2", "trainer.offload=true")
    assert (found.strategy, found.devices, found.accumulation, found.offload) == ("zero2", 16, 1, True)
    assert (found.width.trained, step("trainer=fsdp").width.trained) == (4, 4)


def test_what_cannot_run_does_not_fit():
    """RieMoE-LoRA fits under ZeRO 2, and under ZeRO 3 it is not asked how much it needs."""
    runs = [compose("model=llama3_8b", "method=riemoe_lora", f"trainer={name}") for name in ("zero2", "zero3")]
    assert [fits(run, SHAPE, H100) for run in runs] == [True, False]
