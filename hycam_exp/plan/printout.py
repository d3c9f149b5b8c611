"""A plan and a simulated allocation for a person, as tables, and for a program, as JSON; docs/plan.md says the keys."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from hycam_exp.plan.allocation import Allocation, AllocationRequest, AllocationRow, LeftOut
from hycam_exp.plan.devices import Accelerator
from hycam_exp.plan.forecast import Forecast
from hycam_exp.plan.lines import STATUSES, PlanLine
from hycam_exp.plan.simulation import POLICIES
from hycam_exp.runtime import terminal

SCHEMA_VERSION = 2
WIDE = 200  # columns, where there is no terminal to be asked
LEGEND = (
    "verdict: of the cells as they are configured; the row without one has trainer.activation_checkpointing reversed"
)
UNMEASURED = (
    "linear layers are counted as bitsandbytes packs them; not measured: no such run was compared with its plan"
)
PARTS = ("weights", "gradients", "optimiser", "activations", "method", "logits", "working", "buffers")


def size(number: int) -> str:
    """Bytes in binary units."""
    value, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def hours(number: float | None) -> str:
    """Hours, or minutes and seconds where that is more readable; a dash where not known."""
    if number is None:
        return "-"
    if number >= 1:
        return f"{number:,.1f} h"
    return f"{number * 60:.1f} min" if number * 60 >= 1 else f"{number * 3600:.1f} s"


def operations(number: int) -> str:
    """Floating-point operations in decimal units."""
    value, unit = float(number), ""
    for unit in ("", "K", "M", "G", "T", "P", "E"):
        if value < 1000 or unit == "E":
            break
        value /= 1000
    return f"{value:.1f} {unit}FLOP"


def _names(line: PlanLine, lines: Sequence[PlanLine]) -> str:
    """The method, with what tells the line from another of the same names."""
    alike = [
        other for other in lines if (other.model, other.method, other.data) == (line.model, line.method, line.data)
    ]
    if len(alike) == 1:
        return line.method
    shared = set.intersection(*(set(other.overrides) for other in alike))
    return " ".join([line.method, *(o for o in line.overrides if o not in shared)])


def _statuses(line: PlanLine) -> str:
    counts = [f"{line.count(status)} {status}" for status in STATUSES if line.count(status)]
    again = sum(cell.status == "failed" and cell.runs for cell in line.cells)
    return ", ".join([*counts, *([f"{again} tried again"] if again else [])])


def _devices(line: PlanLine) -> str:
    """The devices in words, as in "8 fsdp", "2 x 8 zero3 offload"."""
    found = line.forecast
    nodes = f"{found.num_nodes} x " if found.num_nodes > 1 else ""
    return f"{nodes}{found.devices // found.num_nodes} {found.strategy}{' offload' * found.offload}"


CELLS = (
    ("model", "method", "data", "recipe", "on", "cells"),
    ("parameters", "trained"), ("adapter", "work of a step"), ("a cell", "all left"),
)  # fmt: skip


def _cells_tables(lines: Sequence[PlanLine], device: Accelerator) -> tuple[Table, Table]:
    rows = []
    for line in lines:
        found, left = line.forecast, sum(cell.runs for cell in line.cells)
        rows.append([
            line.model, _names(line, lines), line.data, line.recipe, _devices(line), _statuses(line),
            f"{found.parameters_total:,}",
            f"{found.parameters_trainable:,}",
            size(found.adapter_bytes),
            operations(found.flops_per_step),
            hours(found.hours.total),
            hours(None if found.hours.total is None else found.hours.total * left),
        ])  # fmt: skip
    return terminal.forms(f"Cells, on {device.name}", CELLS, CELLS[0], rows)


MEMORY = (("model", "method", "checkpointed"), PARTS[:3], PARTS[3:6], (*PARTS[6:], "peak"), ("verdict",))


def _memory_tables(lines: Sequence[PlanLine], device: Accelerator) -> tuple[Table, Table]:
    rows = []
    for line in lines:
        found = line.forecast
        for on, parts in ((True, found.memory_checkpointed), (False, found.memory_plain)):
            verdict = _verdict(found) if on == found.checkpointing else ""
            name = (line.model, _names(line, lines)) if on else ("", "")
            numbers = [size(getattr(parts, part)) if parts else "-" for part in (*PARTS, "total")]
            rows.append([*name, "yes" if on else "no", *numbers, verdict])
    title = f"Memory of one {device.name} at the peak of a step ({size(device.memory)})"
    return terminal.forms(title, MEMORY, (*MEMORY[0], "verdict"), rows)


def _verdict(found: Forecast) -> str:
    host = f", with {size(found.host_per_node)} of a node's own memory" if found.host_per_node else ""
    return found.obstacle or f"fits{host}"


def show(lines: Sequence[PlanLine], device: Accelerator, console: Console | None = None) -> None:
    """Print the tables, and why cells could not be looked up or have failed."""
    console = console or Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    terminal.show(console, *_cells_tables(lines, device))
    terminal.show(console, *_memory_tables(lines, device))
    console.print(LEGEND, soft_wrap=True)
    for quantize in dict.fromkeys(line.forecast.quantize for line in lines if line.forecast.quantize):
        console.print(f"model.quantize={quantize}: {UNMEASURED}", soft_wrap=True)
    again = {True: ", tried again by the same grid", False: ", not tried again without retry=true"}
    cells = [cell for line in lines for cell in line.cells if cell.reason is not None]
    reasons = [f"{cell.status}{again[cell.runs] if cell.status == 'failed' else ''}: {cell.reason}" for cell in cells]
    for sentence in dict.fromkeys([*reasons, *(_origin(line) for line in lines)]):
        console.print(sentence, soft_wrap=True)


def _origin(line: PlanLine) -> str:
    load = line.forecast.workload
    if load is None:
        return f"{line.data}: how many records there are is not known, so neither is the time"
    return f"{line.data}: records by {load.records_from}, {load.tokens:.0f} tokens a record by {load.tokens_from}"


def _forecast(forecast: Forecast) -> dict[str, Any]:
    peaks = {"memory_checkpointed": forecast.memory_checkpointed, "memory_plain": forecast.memory_plain}
    memory = {name: parts and {**asdict(parts), "total": parts.total} for name, parts in peaks.items()}
    overrides = None if forecast.remedy is None else str(forecast.remedy)
    time = {**asdict(forecast.hours), "total": forecast.hours.total}
    return {**asdict(forecast), **memory, "remedy": overrides, "hours": time}


def as_json(lines: Sequence[PlanLine], device: Accelerator, utilisation: float) -> dict[str, Any]:
    """The plan as plain values."""
    rows = []
    for line in lines:
        found = asdict(line)
        del found["forecast"]
        remedied = None if line.remedied is None else _forecast(line.remedied)
        rows.append({**found, **_forecast(line.forecast), "remedied": remedied})
    return {
        "schema_version": SCHEMA_VERSION,
        "accelerator": asdict(device),
        "utilisation": utilisation,
        "cells": sum(len(line.cells) for line in lines),
        "lines": rows,
    }


def show_allocation(
    found: Allocation,
    left_out: Sequence[LeftOut],
    request: AllocationRequest,
    device: str,
    console: Console | None = None,
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


def _tables(found: Allocation, request: AllocationRequest, device: str) -> tuple[Table, Table]:
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


def _numbers(row: AllocationRow, preempted: bool) -> list[str]:
    assert row.utilisation is not None, "there is room"
    disturbed = [hours(row.mean), f"{hours(row.low)} to {hours(row.high)}"] if preempted else []
    work = [f"{number:,.1f}" for number in (row.gpu_hours_used, row.gpu_hours_lost) if number is not None]
    return [hours(row.lower_bound), hours(row.makespan), *disturbed, *work, f"{row.utilisation:.0%}"]


def _sentences(found: Allocation, request: AllocationRequest) -> list[str]:
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


def allocation_as_json(found: Allocation, left_out: Sequence[LeftOut], request: AllocationRequest) -> dict[str, Any]:
    """The value of the key `simulation`."""
    return {"request": asdict(request), **asdict(found), "left_out": [asdict(left) for left in left_out]}
