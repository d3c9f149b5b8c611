"""The lines of a plan: cells that differ in fold and seed alone are one line, with the status of each."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hycam_exp.config.settings import Run
from hycam_exp.launch.cell_status import DONE, FAILED, MISSING, standing, store_of
from hycam_exp.launch.inputs import Inputs
from hycam_exp.plan.accelerators import Accelerator
from hycam_exp.plan.forecast import Forecast, forecast
from hycam_exp.plan.shape import shape_of_model
from hycam_exp.plan.workload import Workload, workload

STATUSES = (DONE, FAILED, MISSING, "unknown data", "unreadable")


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a cell stands."""

    run_id: str | None
    """None where its data cannot be read, whose hash is part of it."""
    fold: int
    seed: int
    status: str
    """One of `STATUSES`."""
    reason: str | None
    """Of a failure, of unknown data, or of an unreadable record."""
    runs: bool
    """The same grid, started now, runs it: it is missing, or failed and is tried again."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Cells of one backbone, method, data mix and recipe, under the same settings."""

    model: str
    method: str
    data: str
    recipe: str
    overrides: tuple[str, ...]
    """What was swept or given beside groups, fold and seed: it tells lines of the same names apart."""
    cells: tuple[Status, ...]
    forecast: Forecast
    remedied: Forecast | None
    """With the forecast's remedy, where it has one."""

    def count(self, status: str) -> int:
        """Cells of that status."""
        return sum(cell.status == status for cell in self.cells)


def lines(cells: Sequence[Sequence[str]], runs: Sequence[Run], device: Accelerator, utilisation: float) -> list[Line]:
    """The lines of a grid, in the order of their first cells.

    Raises:
        ValueError: a backbone's sizes are not known, or a method does not fit it.
    """
    grouped: dict[str, list[tuple[Sequence[str], Run]]] = {}
    for overrides, run in zip(cells, runs, strict=True):
        grouped.setdefault(_same(run), []).append((overrides, run))
    loads = _Workloads(Inputs())
    return [_line(members, loads, device, utilisation) for members in grouped.values()]


def _same(run: Run) -> str:
    """Equal for runs that differ in fold and seed alone."""
    return json.dumps({**asdict(run), "fold": None, "seed": None}, sort_keys=True)


class _Workloads:
    """Workloads of a grid's runs, each made once."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._made: dict[str, Workload | None] = {}

    def of(self, run: Run) -> Workload | None:
        key = json.dumps([asdict(run.data), run.model.path, run.fold], sort_keys=True)
        if key not in self._made:
            self._made[key] = workload(run, self.inputs.data(run.data))
        return self._made[key]


def _line(
    members: Sequence[tuple[Sequence[str], Run]], loads: _Workloads, device: Accelerator, utilisation: float
) -> Line:
    overrides, run = members[0]
    shape, load = shape_of_model(run.model), loads.of(run)
    found = forecast(run, shape, load, device, utilisation)
    return Line(
        model=run.model.name,
        method=run.method.name,
        data=run.data.name,
        recipe=run.recipe.name,
        overrides=tuple(o for o in overrides if o.partition("=")[0] not in ("model", "method", "data", "fold", "seed")),
        cells=tuple(status(run, loads.inputs) for _, run in members),
        forecast=found,
        remedied=None if found.remedy is None else forecast(found.remedy.run, shape, load, device, utilisation),
    )


def status(run: Run, inputs: Inputs) -> Status:
    """Where a cell stands, by its record and its failures."""
    data = inputs.data(run.data)
    place = {"fold": run.fold, "seed": run.seed}
    if data.hash is None:
        return Status(run_id=None, status="unknown data", reason=data.problem, runs=True, **place)
    identifier = inputs.run_id(run)
    try:
        now = standing(identifier, store_of(run))
    except ValueError as error:
        return Status(run_id=identifier, status="unreadable", reason=str(error), runs=False, **place)
    shown = FAILED if now.retried else now.state
    wanted = {DONE: run.overwrite, FAILED: run.retry, MISSING: True}[now.state]
    reason = now.reason if shown == FAILED else None
    return Status(run_id=identifier, status=shown, reason=reason, runs=wanted, **place)
