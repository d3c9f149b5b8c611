"""Remedies: the least change first, as command lines that compose to what was counted."""

from dataclasses import replace

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.settings import Run
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.sizes import shape_of
from hycam_exp.plan.suggestions import remedy, suggestions
from tests.plan.architectures import LLAMA2_7B

SHAPE, H100 = shape_of(LLAMA2_7B), GPUS["h100_80gb"]


def paper(*overrides: str) -> Run:
    return compose("model=llama3_8b", *overrides)


def said(run: Run, gib: float) -> str:
    return str(remedy(run, SHAPE, replace(H100, memory=int(gib * 2**30))))


def test_the_least_change_is_proposed_first():
    """Without checkpointing 16 rows at once do not fit, with it they do; a smaller card needs fewer rows as well."""
    run = paper("method=hycam", "trainer.activation_checkpointing=false", "trainer.micro_batch_size=16")
    assert said(run, 78) == "trainer.activation_checkpointing=true"
    assert said(run, 27) == "trainer.activation_checkpointing=true trainer.micro_batch_size=8"  # 26.5 GiB
    assert said(run, 25) == "trainer.activation_checkpointing=true trainer.micro_batch_size=4"  # 24.5 GiB
    assert said(run, 0.001) == "None"


def test_weights_are_split_where_rows_do_not_help():
    """Full fine-tuning on smaller and smaller cards: two GPUs, eight, then the host's memory."""
    run = paper("method=full_ft")
    assert said(run, 78) == "trainer=fsdp trainer.devices=2 trainer.micro_batch_size=4"
    assert said(run, 35) == "trainer=fsdp trainer.devices=8 trainer.micro_batch_size=4"
    assert said(run, 20) == "trainer=zero3 trainer.devices=1 trainer.micro_batch_size=1 trainer.offload=true"


def test_zero_offloads_before_it_spreads():
    """Under ZeRO the optimiser goes to the host first."""
    run = paper("method=full_ft", "trainer=zero2", "trainer.devices=2")
    assert said(run, 40) == "trainer.micro_batch_size=1 trainer.offload=true"


@pytest.mark.parametrize("strategy", ["gpu", "ddp", "fsdp", "zero1", "zero2", "zero3"])
def test_no_remedy_puts_riemoe_lora_where_its_factors_are_cut_up(strategy):
    """ZeRO 3 is never proposed for it, and something is."""
    found = list(suggestions(paper("method=riemoe_lora", f"trainer={strategy}"), SHAPE, H100))
    assert found
    assert "zero3" not in {change.run.trainer.strategy for change in found}


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=full_ft"],
        ["method=riemoe_lora", "trainer=zero3", "trainer.num_nodes=2"],
        pytest.param(
            ["method=hycam", "trainer=zero2", "trainer.offload=true", "trainer.activation_checkpointing=false"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["method=lora", "trainer=ddp", "trainer.micro_batch_size=16", "trainer.devices=4"], marks=pytest.mark.slow
        ),
    ],
)
def test_every_remedy_is_a_command_line(overrides):
    """Behind the run's own overrides it composes to the trainer that its memory was counted for."""
    changes = list(suggestions(paper(*overrides), SHAPE, H100))
    assert len(changes) >= 3
    for change in changes[:: max(1, len(changes) // 8)]:
        composed = paper(*overrides, *change.overrides).trainer
        assert composed == replace(change.run.trainer, evaluation_batch_size=composed.evaluation_batch_size)


def test_a_cpu_has_nothing_to_split_over():
    """Only checkpointing and smaller micro-batches are tried."""
    cpu = replace(H100, gpu=False)
    assert all(change.run.trainer.world_size == 1 for change in suggestions(compose(), SHAPE, cpu))


def test_packed_weights_are_not_cut_up():
    """With four bits no strategy is tried that could not run it, however little fits."""
    run = compose("model=llama3_8b", "method=hycam", "model.quantize=nf4", "trainer.micro_batch_size=8")
    found = list(suggestions(run, SHAPE, H100))
    assert found
    assert {change.run.trainer.strategy for change in found} == {"single"}
