"""One cell's forecast: verdicts, remedies, time."""

from dataclasses import replace

import pytest

from hycam_exp.config import Run, compose
from hycam_exp.plan.accelerators import GPUS
from hycam_exp.plan.forecast import Forecast, forecast, remedy, step_of
from hycam_exp.plan.shape import shape_of
from hycam_exp.plan.workload import Workload
from tests.plan.architectures import LLAMA2_7B

SHAPE = shape_of(LLAMA2_7B)
LOAD = Workload(train=1600, validation=200, test=100, tokens=300, records_from="", tokens_from="")
H100 = GPUS["h100_80gb"]


def paper(method: str, *overrides: str) -> Run:
    return compose("model=llama3_8b", f"method={method}", *overrides)


def of(run: Run, gpu: str = "h100_80gb", load: Workload | None = LOAD) -> Forecast:
    return forecast(run, SHAPE, load, GPUS[gpu], 0.5)


def test_hycam_fits_where_full_fine_tuning_does_not():
    """On one 80 GB GPU; 16 bytes a parameter need two."""
    assert of(paper("hycam")).fits
    found = of(paper("full_ft"))
    assert not found.fits
    assert found.remedy == "trainer.micro_batch_size=1, weights sharded over 2 GPUs"


def test_the_least_change_is_proposed_first():
    """Without checkpointing 16 rows at once do not fit, with it they do; a smaller card needs fewer rows as well."""
    run = paper("hycam", "trainer.activation_checkpointing=false", "trainer.micro_batch_size=16")
    assert remedy(run, SHAPE, H100) == "trainer.activation_checkpointing=true"
    smaller = replace(H100, memory=27 * 2**30)
    assert remedy(run, SHAPE, smaller) == "trainer.activation_checkpointing=true trainer.micro_batch_size=4"
    assert remedy(run, SHAPE, replace(H100, memory=2**20)) is None


def test_micro_batches_are_those_of_the_schedule():
    """Global 16 in micro-batches of at most 5: four of four rows; one row alone has no padding."""
    step = step_of(paper("lora"), SHAPE, H100, 5)
    assert (step.batch.rows, step.accumulation, step.batch.padded) == (4, 4, True)
    assert not step_of(paper("lora"), SHAPE, H100, 1).batch.padded


def test_hours_are_work_over_speed():
    """100 steps an epoch, three epochs, at half of the peak; decoding 512 tokens for seven batches of 16."""
    found = of(paper("hycam"))
    assert found.steps == 300
    assert found.hours.train == pytest.approx(300 * found.flops_per_step / (0.5 * H100.narrow) / 3600)
    weights = 2 * 6_738_415_616 + 4 * 622_067_712
    assert H100.bandwidth is not None
    assert found.hours.generate == pytest.approx(7 * 512 * weights / H100.bandwidth / 3600)
    assert found.hours.total == pytest.approx(found.hours.train + found.hours.validate + found.hours.generate)


def test_what_is_not_known_is_not_made_up():
    """No records, no hours and no steps; the work of a step is that of the longest."""
    found = of(paper("hycam"), load=None)
    assert (found.steps, found.hours.total, found.hours.train) == (None, None, None)
    assert found.flops_per_step > of(paper("hycam")).flops_per_step


def test_the_adapters_size():
    """Four bytes for each of its parameters; full fine-tuning saves the whole model."""
    assert of(paper("hycam")).adapter_bytes == 4 * 622_067_712
    assert of(paper("full_ft")).adapter_bytes == 4 * 6_738_415_616


def test_a_rank_above_the_width_is_refused():
    """As a run itself refuses it."""
    with pytest.raises(ValueError, match="rank"):
        of(paper("hycam", "method.rank=5000"))


def test_the_strategy_and_the_devices_of_all_nodes_are_the_trainers():
    """A step knows its strategy, and on how many devices it is."""
    step = step_of(paper("lora", "trainer=zero2", "trainer.num_nodes=2"), SHAPE, H100, 1)
    assert (step.strategy, step.devices, step.accumulation) == ("zero2", 16, 1)
