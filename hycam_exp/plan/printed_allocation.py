"""A simulated allocation for a person, as a table and a few sentences, and for a program, as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from hycam_exp.plan.allocation import Allocation, Request, Row
from hycam_exp.plan.printed import WIDE, hours
from hycam_exp.plan.simulation import POLICIES
from hycam_exp.plan.work import LeftOut
from hycam_exp.runtime import terminal


def show_allocation(
    found: Allocation, left_out: Sequence[LeftOut], request: Request, device: str, console: Console | None = None
) -> None:
    """Print the table, what was left out, and the line for SLURM."""
    console = console or Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    for left in left_out:
        console.print(f"left out: {left.cells} cells of {left.name}: {left.reason}", soft_wrap=True)
    if not found.jobs:
        console.print("no cell is left to simulate")
        return
    terminal.show(console, *_tables(found, request, device))
    for sentence in _sentences(found, request):
        console.print(sentence, soft_wrap=True)


def _tables(found: Allocation, request: Request, device: str) -> tuple[Table, Table]:
    title = f"{found.jobs} cells on {device} in nodes of {request.gpus_per_node}, by simulation"
    preempted = [("preempted, mean", "5% to 95%")] if request.preemptions_per_day else []
    groups = [
        ("GPUs", "nodes"), ("order",), ("at least", "makespan"), *preempted, ("GPU-hours", "lost", "busy"),
    ]  # fmt: skip
    rows = []
    for row in found.rows:
        number = f"{row.gpus}{' *' * (row.gpus == request.gpus)}"
        if row.lower_bound is not None:
            rows.append([number, str(row.nodes), POLICIES[row.policy], *_numbers(row, bool(preempted))])
        elif row.policy == "fifo":
            empty = [""] * sum(len(group) for group in groups[2:])
            rows.append([number, str(row.nodes), "no room for some cell", *empty])
    return terminal.forms(title, groups, ("order",), rows)


def _numbers(row: Row, preempted: bool) -> list[str]:
    assert row.utilisation is not None, "there is room"
    disturbed = [hours(row.mean), f"{hours(row.low)} to {hours(row.high)}"] if preempted else []
    work = [f"{number:,.1f}" for number in (row.gpu_hours_used, row.gpu_hours_lost) if number is not None]
    return [hours(row.lower_bound), hours(row.makespan), *disturbed, *work, f"{row.utilisation:.0%}"]


def _sentences(found: Allocation, request: Request) -> list[str]:
    enough = next((r.gpus for r in found.rows if r.makespan is not None and r.makespan <= found.longest * 1.0001), None)
    lines = [f"{found.gpu_hours:,.1f} GPU-hours undisturbed; the longest cell takes {hours(found.longest)}"]
    if enough is not None:
        lines[0] += f", and more than {enough} GPUs make nothing shorter"
    lines.append(
        f"assumed: {request.start_minutes:g} min from every start until it computes, requeued after "
        f"{request.requeue_minutes:g} min, preemptions a day of a running job: {request.preemptions_per_day:g}"
    )
    if len(found.submissions) > 1:
        lines.append(f"each of these arrays alone may fill {request.gpus} GPUs: your account's limit divides them")
    return [*lines, *(f"ask for: {line}" for line in found.submissions)]


def allocation_as_json(found: Allocation, left_out: Sequence[LeftOut], request: Request) -> dict[str, Any]:
    """The value of the key `simulation`."""
    return {"request": asdict(request), **asdict(found), "left_out": [asdict(left) for left in left_out]}
