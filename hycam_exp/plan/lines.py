"""The lines of a plan: cells that differ in fold and seed alone are one line, with the status of each."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hycam_exp.config.identity import REPEATED
from hycam_exp.config.settings import Run
from hycam_exp.launch.cell_status import DONE, FAILED, MISSING, Inputs, standing
from hycam_exp.plan.devices import Accelerator
from hycam_exp.plan.forecast import Forecast, forecast
from hycam_exp.plan.sizes import shape_of_model
from hycam_exp.plan.workload import Workload, workload
from hycam_exp.records.store import Store

STATUSES = (DONE, FAILED, MISSING, "unknown data", "unreadable")
NAMED = ("model", "method", "data", *REPEATED)  # overrides that a line or its cells tell by themselves


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell of the plan, and its status."""

    run_id: str | None
    """None where its data cannot be read, whose hash is part of it."""
    fold: int
    seed: int
    status: str
    """One of `STATUSES`."""
    reason: str | None
    """Why it failed, why its data are not known, or why its record cannot be read."""
    runs: bool
    """The same grid, started now, runs it: it is missing, or failed and is tried again."""


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """Cells of one backbone, method, data mix and recipe, under the same settings."""

    model: str
    method: str
    data: str
    recipe: str
    overrides: tuple[str, ...]
    """What was swept or given beside groups, fold and seed: it tells lines of the same names apart."""
    cells: tuple[PlannedCell, ...]
    forecast: Forecast
    remedied: Forecast | None
    """The forecast with the remedy of `forecast`, where it has one."""

    def count(self, status: str) -> int:
        """The number of cells of a status."""
        return sum(cell.status == status for cell in self.cells)


def lines(
    cells: Sequence[Sequence[str]], runs: Sequence[Run], device: Accelerator, utilisation: float
) -> list[PlanLine]:
    """The lines of a grid, in the order of their first cells.

    Raises:
        ValueError: a backbone's sizes are not known, or a method does not fit it.
    """
    grouped: dict[str, list[tuple[Sequence[str], Run]]] = {}
    for overrides, run in zip(cells, runs, strict=True):
        shared = {**asdict(run), **dict.fromkeys(REPEATED)}
        grouped.setdefault(json.dumps(shared, sort_keys=True), []).append((overrides, run))
    inputs, loads = Inputs(), dict[str, Workload | None]()
    found = []
    for members in grouped.values():
        overrides, run = members[0]
        shape = shape_of_model(run.model)
        key = json.dumps([asdict(run.data), run.model.path, run.fold], sort_keys=True)
        if key not in loads:
            loads[key] = workload(run, inputs.data(run.data))
        planned = forecast(run, shape, loads[key], device, utilisation)
        changed = None if planned.remedy is None else planned.remedy.run
        remedied = None if changed is None else forecast(changed, shape, loads[key], device, utilisation)
        found.append(
            PlanLine(
                model=run.model.name,
                method=run.method.name,
                data=run.data.name,
                recipe=run.recipe.name,
                overrides=tuple(o for o in overrides if o.partition("=")[0] not in NAMED),
                cells=tuple(dict.fromkeys(status(run, inputs) for _, run in members)),
                forecast=planned,
                remedied=remedied,
            )
        )
    return found


def status(run: Run, inputs: Inputs) -> PlannedCell:
    """A cell's status, by its record and its failures."""
    data = inputs.data(run.data)
    place = {"fold": run.fold, "seed": run.seed}
    if data.hash is None:
        return PlannedCell(run_id=None, status="unknown data", reason=data.problem, runs=True, **place)
    identifier = inputs.run_id(run)
    try:
        now = standing(identifier, Store.of(run))
    except ValueError as error:
        return PlannedCell(run_id=identifier, status="unreadable", reason=str(error), runs=False, **place)
    shown = FAILED if now.retried else now.state
    wanted = {DONE: run.overwrite, FAILED: run.retry, MISSING: True}[now.state]
    reason = now.reason if shown == FAILED else None
    return PlannedCell(run_id=identifier, status=shown, reason=reason, runs=wanted, **place)
