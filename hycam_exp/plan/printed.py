"""A plan for a person, as tables, and for a program, as JSON; docs/plan.md says what each key is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from hycam_exp.plan.accelerators import Accelerator
from hycam_exp.plan.forecast import Forecast
from hycam_exp.plan.lines import STATUSES, Line, Status
from hycam_exp.plan.memory import Parts
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


def _names(line: Line, lines: Sequence[Line]) -> str:
    """The method, with what tells the line from another of the same names."""
    alike = [
        other for other in lines if (other.model, other.method, other.data) == (line.model, line.method, line.data)
    ]
    if len(alike) == 1:
        return line.method
    shared = set.intersection(*(set(other.overrides) for other in alike))
    return " ".join([line.method, *(o for o in line.overrides if o not in shared)])


def _statuses(line: Line) -> str:
    counts = [f"{line.count(status)} {status}" for status in STATUSES if line.count(status)]
    again = sum(cell.status == "failed" and cell.runs for cell in line.cells)
    return ", ".join([*counts, *([f"{again} tried again"] if again else [])])


def _devices(line: Line) -> str:
    """As in "8 fsdp", "2 x 8 zero3 offload"."""
    found = line.forecast
    nodes = f"{found.num_nodes} x " if found.num_nodes > 1 else ""
    return f"{nodes}{found.devices // found.num_nodes} {found.strategy}{' offload' * found.offload}"


CELLS = (
    ("model", "method", "data", "recipe", "on", "cells"),
    ("parameters", "trained"), ("adapter", "work of a step"), ("a cell", "all left"),
)  # fmt: skip


def _cells_tables(lines: Sequence[Line], device: Accelerator) -> tuple[Table, Table]:
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


def _memory_tables(lines: Sequence[Line], device: Accelerator) -> tuple[Table, Table]:
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


def show(lines: Sequence[Line], device: Accelerator, console: Console | None = None) -> None:
    """Print the tables, and why cells could not be looked up or have failed."""
    console = console or Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    terminal.show(console, *_cells_tables(lines, device))
    terminal.show(console, *_memory_tables(lines, device))
    console.print(LEGEND, soft_wrap=True)
    for quantize in dict.fromkeys(line.forecast.quantize for line in lines if line.forecast.quantize):
        console.print(f"model.quantize={quantize}: {UNMEASURED}", soft_wrap=True)
    cells = [cell for line in lines for cell in line.cells if cell.reason is not None]
    reasons = dict.fromkeys(f"{cell.status}{_again(cell)}: {cell.reason}" for cell in cells)
    for reason in reasons:
        console.print(reason, soft_wrap=True)
    for origin in dict.fromkeys(_origin(line) for line in lines):
        console.print(origin, soft_wrap=True)


def _again(cell: Status) -> str:
    if cell.status != "failed":
        return ""
    return ", tried again by the same grid" if cell.runs else ", not tried again without retry=true"


def _origin(line: Line) -> str:
    load = line.forecast.workload
    if load is None:
        return f"{line.data}: how many records there are is not known, so neither is the time"
    return f"{line.data}: records by {load.records_from}, {load.tokens:.0f} tokens a record by {load.tokens_from}"


def _parts(parts: Parts | None) -> dict[str, Any] | None:
    return None if parts is None else {**asdict(parts), "total": parts.total}


def _forecast(forecast: Forecast) -> dict[str, Any]:
    memory = {name: _parts(getattr(forecast, name)) for name in ("memory_checkpointed", "memory_plain")}
    overrides = None if forecast.remedy is None else str(forecast.remedy)
    time = {**asdict(forecast.hours), "total": forecast.hours.total}
    return {**asdict(forecast), **memory, "remedy": overrides, "hours": time}


def as_json(lines: Sequence[Line], device: Accelerator, utilisation: float) -> dict[str, Any]:
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
