"""Run records from a results folder: those that can be used, and by name what is wrong with the others."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.config import NUM_FOLDS
from hycam_exp.evaluation.metrics import AGGREGATES
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report import form, setting
from hycam_exp.runs import RunRecord, Store

# The parts that hold numbers, but for scores and curves.
_NUMBERS = ("config", "metrics", "fit", "routing", "counts", "cost", "data", "code", "versions")


@dataclass(frozen=True, order=True)
class Problem:
    """Something that keeps a record or a row out of the report."""

    place: str
    """The file or the row."""
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Collection:
    """The usable records of a results folder in order of id, and what is wrong with the others."""

    records: list[RunRecord]
    problems: list[Problem]


def read(results: Path) -> Collection:
    """Every record of a results folder. One that is not whole, of a newer schema, with a number that is not finite, or
    of the same setting and fold as another is left out, and named.
    """
    store = Store(results, results)
    records: list[RunRecord] = []
    problems: list[Problem] = []
    for path in sorted((results / "runs").glob("*.json")):
        record, fault = _read(store, path)
        if record is not None:
            records.append(record)
        else:
            problems.append(Problem(str(path), fault))
    doubled = _doubled(records, results)
    kept = [record for record in records if record.run_id not in doubled]
    return Collection(kept, sorted([*problems, *doubled.values()]))


def _read(store: Store, path: Path) -> tuple[RunRecord | None, str]:
    """A record, or what is wrong with it."""
    try:
        record = store.read(path.stem)
    except (ValueError, RecursionError) as error:
        return None, str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    if record is None:
        return None, "is no file, or a link to none"
    fault = _fault(record, path)
    return (record, "") if fault is None else (None, fault)


def _fault(record: RunRecord, path: Path) -> str | None:
    """What a record lacks, or which of its values is none that the report can read."""
    fault = form.fault(record)
    if fault is not None:
        return fault
    if record.config["fold"] not in range(NUM_FOLDS):
        return f"config.fold={record.config['fold']}: must be in 0..{NUM_FOLDS - 1}"
    if record.run_id != path.stem:
        return f"holds the record of {record.run_id}"
    return next((f"{place} is {value}" for place, value in _numbers(record) if not _is_finite(value)), None)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _numbers(record: RunRecord) -> Iterator[tuple[str, Any]]:
    """What should be finite, with its place: all scores, and all numbers of a part where one is not."""
    for score in record.scores:
        if score.value is not None:
            yield f"the score {score.metric} of {score.task}", score.value
    if not _sums_are_finite(record.curves):  # curves are long: look for the place only where one may be
        yield from _within("curves", record.curves)
    for part in _NUMBERS:
        if not _holds_finite_numbers(getattr(record, part)):
            yield from _within(part, getattr(record, part))


def _sums_are_finite(curves: Mapping[str, Any]) -> bool:
    """Whether every row of every curve has a finite sum; then its numbers are finite, too."""
    try:
        return all(math.isfinite(sum(row.values())) for rows in curves.values() for row in rows)
    except (TypeError, OverflowError):  # a value is null, or no float holds it
        return False


def _holds_finite_numbers(value: Any) -> bool:
    """By the standard library's encoder, which goes through a value faster than a loop here."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _within(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, int | float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _within(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _within(f"{place}[{position}]", inner)


def _doubled(records: list[RunRecord], results: Path) -> dict[str, Problem]:
    """For each record whose setting and fold another has too, the problem."""
    cells: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        decisive = setting.decisive(record.config, record.data["content"])
        cells.setdefault((record.config["fold"], *map(str, sorted(decisive.items()))), []).append(record)
    store = Store(results, results)
    return {
        record.run_id: Problem(
            str(store.record_path(record.run_id)),
            f"the same cell as {', '.join(o.run_id for o in alike if o is not record)}; move all but one away",
        )
        for alike in cells.values()
        if len(alike) > 1
        for record in alike
    }


def tasks_of(record: RunRecord) -> list[str]:
    """The tasks that a run was scored on, in its config's order where that names them."""
    scored = {score.task for score in record.scores if score.metric == "ppl"} - {*AGGREGATES, RETENTION}
    order = record.config["data"].get("tasks") or []
    return [task for task in order if task in scored] + sorted(scored - set(order))
