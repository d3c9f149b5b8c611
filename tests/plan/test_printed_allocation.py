"""What a person and a program read of a simulation."""

import io
from collections.abc import Sequence

from rich.console import Console

from hycam_exp.plan.allocation import Request, allocation
from hycam_exp.plan.printed_allocation import allocation_as_json, show_allocation
from hycam_exp.plan.printout import hours
from hycam_exp.plan.work import Job, LeftOut

JOBS = [Job(name=str(n), train=2.0, checkpoint=0.5) for n in range(4)]
LEFT_OUT = [LeftOut(cells=5, name="big", reason="does not fit; fits with trainer=fsdp")]


def said(jobs: Sequence[Job], request: Request) -> str:
    out = io.StringIO()
    console = Console(file=out, markup=False, width=80)
    show_allocation(allocation(jobs, request), LEFT_OUT, request, "h100_80gb", console)
    return out.getvalue()


def test_the_table_names_the_bound_and_what_is_left_out():
    """The cells that are missing from it come first; preemption has columns where it was asked for."""
    text = said(JOBS, Request(gpus=2))
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
    assert "preempted, mean" in said(JOBS, Request(gpus=2, preemptions_per_day=1, repetitions=3))


def test_no_number_of_the_table_is_cut():
    """In a terminal of 60 columns, with the columns of preemption."""
    out, request = io.StringIO(), Request(gpus=2, preemptions_per_day=1, repetitions=3)
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
    text = said([*JOBS, Job(name="wide", gpus=2, train=1)], Request(gpus=2))
    assert "your account's limit divides them" in text
    assert "no room for some cell" in text


def test_nothing_to_simulate_is_said():
    """Where all is done or left out."""
    assert "no cell is left to simulate" in said([], Request(gpus=2))


def test_json_has_the_request_the_rows_and_what_is_left_out():
    """Plain values."""
    request = Request(gpus=2)
    found = allocation_as_json(allocation(JOBS, request), LEFT_OUT, request)
    assert found["request"]["gpus"] == 2
    assert found["rows"][-1]["makespan"] == 2.0
    assert found["left_out"] == [{"cells": 5, "name": "big", "reason": "does not fit; fits with trainer=fsdp"}]
