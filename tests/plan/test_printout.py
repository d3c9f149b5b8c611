"""Tables and JSON of a plan, and of a simulated allocation."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from hycam_exp.config.grid import expand, runs
from hycam_exp.plan.allocation import AllocationRequest, LeftOut, allocation
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.lines import lines
from hycam_exp.plan.printout import PARTS, allocation_as_json, as_json, hours, operations, show, show_allocation, size
from hycam_exp.plan.simulation import SimulatedJob


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (size(5), "5 B"),
        (size(1536), "1.5 KiB"),
        (size(3 * 2**40), "3.0 TiB"),
        (hours(None), "-"),
        (hours(2), "2.0 h"),
        (hours(0.5), "30.0 min"),
        (hours(0.001), "3.6 s"),
        (operations(1_500), "1.5 KFLOP"),
        (operations(2 * 10**12), "2.0 TFLOP"),
    ],
)
def test_numbers_for_people(written, said):
    """Units that leave few digits."""
    assert written == said


def test_the_tables_say_verdict_and_status(tmp_path):
    """Both methods by what tells them apart, their cells, and where the numbers come from."""
    cells = expand(["method=hycam", "method.tau=0.1,0.5", f"paths.results={tmp_path}", f"paths.outputs={tmp_path}"])
    found = lines(cells, runs(cells), GPUS["rtx4090"], 0.4)
    out = io.StringIO()
    show(found, GPUS["rtx4090"], Console(file=out, markup=False, width=80))
    text = out.getvalue()
    for words in ("hycam method.tau=0.1", "1 missing", "fits", "mini: records by the disk"):
        assert words in text
    assert "the row without one has trainer.activation_checkpointing reversed" in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_number_of_the_tables_is_cut(tmp_path, width):
    """In a terminal of any width every part of both memories stands there whole, and so does every count."""
    cells = expand(["model=llama3_8b", "method=lora,full_ft", f"paths.results={tmp_path}", f"paths.outputs={tmp_path}"])
    found, device = lines(cells, runs(cells), GPUS["h100_80gb"], 0.4), GPUS["h100_80gb"]
    out = io.StringIO()
    show(found, device, Console(file=out, markup=False, width=width, force_terminal=True, color_system=None))
    text = out.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for line in found:
        forecast = line.forecast
        for parts in (forecast.memory_checkpointed, forecast.memory_plain):
            assert all(size(getattr(parts, part)) in text for part in (*PARTS, "total"))
        assert f"{forecast.parameters_total:,}" in text
        assert f"{forecast.parameters_trainable:,}" in text
        assert operations(forecast.flops_per_step) in text
    if width >= 80:
        tables = [row for row in text.splitlines() if row[:1] in "\u2502\u2503"]
        assert max(map(len, tables)) <= width


def test_json_has_the_sums(tmp_path):
    """A part for each of the documented names, and they add up."""
    cells = expand([f"paths.results={tmp_path}", f"paths.outputs={tmp_path}"])
    plan = as_json(lines(cells, runs(cells), GPUS["rtx4090"], 0.4), GPUS["rtx4090"], 0.4)
    memory = dict(plan["lines"][0]["memory_plain"])
    assert memory.pop("moment")
    assert memory.pop("host") == 0
    assert memory.pop("total") == sum(memory.values())
    assert plan["lines"][0]["hours"]["total"] > 0


def test_a_plan_of_four_bits_says_that_it_was_not_measured(tmp_path):
    """Its weights are those of the packed layers, and a line says what they rest on; another plan has no such line."""
    texts = []
    for quantize in ("null", "nf4"):
        cells = expand(["model=llama3_8b", "method=lora", f"model.quantize={quantize}", f"paths.results={tmp_path}"])
        (line,) = found = lines(cells, runs(cells), GPUS["h100_80gb"], 0.4)
        assert line.forecast.quantize == (None if quantize == "null" else "nf4")
        out = io.StringIO()
        show(found, GPUS["h100_80gb"], Console(file=out, markup=False, width=80))
        texts.append(out.getvalue())
    assert ["not measured" in text for text in texts] == [False, True]
    assert "model.quantize=nf4: linear layers are counted as bitsandbytes packs them" in texts[1]


JOBS = [SimulatedJob(name=str(n), train=2.0, checkpoint=0.5) for n in range(4)]
LEFT_OUT = [LeftOut(cells=5, name="big", reason="does not fit; fits with trainer=fsdp")]


def said(jobs: Sequence[SimulatedJob], request: AllocationRequest) -> str:
    out = io.StringIO()
    console = Console(file=out, markup=False, width=80)
    show_allocation(allocation(jobs, request), LEFT_OUT, request, "h100_80gb", console)
    return out.getvalue()


def test_the_table_names_the_bound_and_what_is_left_out():
    """The cells that are missing from it come first; preemption has columns where it was asked for."""
    text = said(JOBS, AllocationRequest(gpus=2))
    for words in (
        "left out: 5 cells of big: does not fit; fits with trainer=fsdp",
        "4 cells on h100_80gb in nodes of 8",
        "at least",
        "2 *",
        "more than 4 GPUs make nothing shorter",
        "ask for: sbatch --array=0-3%2",
    ):
        assert words in text
    assert "preempted, mean" not in text
    assert "preempted, mean" in said(JOBS, AllocationRequest(gpus=2, preemptions_per_day=1, repetitions=3))


def test_no_number_of_the_table_is_cut():
    """In a terminal of 60 columns, with the columns of preemption."""
    out, request = io.StringIO(), AllocationRequest(gpus=2, preemptions_per_day=1, repetitions=3)
    found = allocation(JOBS, request)
    console = Console(file=out, markup=False, width=60, force_terminal=True, color_system=None)
    show_allocation(found, [], request, "h100_80gb", console)
    text = out.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for row in found.rows:
        assert hours(row.makespan) in text
        assert f"{hours(row.low)} to {hours(row.high)}" in text


def test_arrays_of_several_shapes_share_the_gpus():
    """It says so, and where a row has no room."""
    text = said([*JOBS, SimulatedJob(name="wide", gpus=2, train=1)], AllocationRequest(gpus=2))
    assert "your account's limit divides them" in text
    assert "no room for some cell" in text


def test_nothing_to_simulate_is_said():
    """Where all is done or left out."""
    assert "no cell is left to simulate" in said([], AllocationRequest(gpus=2))


def test_json_has_the_request_the_rows_and_what_is_left_out():
    """Plain values."""
    request = AllocationRequest(gpus=2)
    found = allocation_as_json(allocation(JOBS, request), LEFT_OUT, request)
    assert found["request"]["gpus"] == 2
    assert found["rows"][-1]["makespan"] == 2.0
    assert found["left_out"] == [{"cells": 5, "name": "big", "reason": "does not fit; fits with trainer=fsdp"}]
