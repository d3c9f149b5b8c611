"""The samples file of a run: every test sample's sums, from which its scores follow, or by name what is wrong with it.

Samples.read(path, "run").scores()["mean", "ppl"]  # as the run's record has it
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hycam_exp.evaluation.metrics import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLED = tuple(name for name, metric in METRICS.items() if metric.from_sums is not None)
"""The metrics that follow from sums of samples."""
HELD = tuple(dict.fromkeys(column for name in RESAMPLED for column in METRICS[name].statistics))
"""What is read of a samples file."""
COUNTED = {name: count for metric in RESAMPLED for name, count in METRICS[metric].counted.items()}
COLUMNS = (*HELD, *COUNTED)
"""What of a sample is summed; `sums` has it in this order, and the number of samples at the end."""
_NEEDED = ("nats", "tokens")  # of every sample; what else is null counts nothing
_TEXTS = ("task", "id", "group", "prediction", "reference")


def read_table(path: Path, needed: Collection[str], wanted: Collection[str] | None = None) -> "pa.Table":
    """The needed columns and of the wanted ones those that are there; all where none are named.

    Raises:
        ValueError: there is no such file, it is damaged or no Parquet, or lacks a needed column, or a column holds
            something else than it should; names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            chosen = None if wanted is None else [name for name in present if name in {*needed, *wanted}]
            table = file.read(columns=chosen, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: no samples file: {error}") from error
    lacking = set(needed) - set(present)
    if lacking:
        raise ValueError(f"{path}: no column {', '.join(sorted(lacking))}")
    for field in table.schema:
        expected = "texts" if field.name in _TEXTS else "yes or no" if field.name == "capped" else "numbers"
        if not _is_of(field.type, expected):
            raise ValueError(f"{path}: column {field.name} is {field.type}, must be {expected}")
    return table


def _is_of(type_: Any, expected: str) -> bool:
    """Whether a column holds values of a kind; a column of nothing but nulls is of every kind."""
    from pyarrow import types

    of_values = type_.value_type if types.is_dictionary(type_) else type_
    checks = {
        "texts": (types.is_string, types.is_large_string),
        "yes or no": (types.is_boolean,),
        "numbers": (types.is_integer, types.is_floating),
    }
    return any(check(of_values) for check in (types.is_null, *checks[expected]))


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One run's test samples; `sums` is (samples, COLUMNS and a 1), NaN where nothing was decoded."""

    run_id: str
    tasks: list[str]
    ids: list[str]
    groups: list[str]
    sums: Array

    @classmethod
    def read(cls, path: Path, run_id: str) -> "Samples":
        """The statistics of a samples file.

        Raises:
            ValueError: as `read_table`.
        """
        table = read_table(path, ("task", "id", "group", *_NEEDED), HELD)
        unknown = np.full(table.num_rows, np.nan)
        part = {
            name: table[name].cast("float64").to_numpy() if name in table.column_names else unknown for name in HELD
        }
        part |= {name: count(part) for name, count in COUNTED.items()}
        for name in set(table.column_names) & set(HELD) - set(_NEEDED):
            part[name] = np.nan_to_num(part[name], nan=0.0)
        sums = np.stack([*(part[name] for name in COLUMNS), np.ones(table.num_rows)], axis=1)
        texts = {name: table[name].to_pylist() for name in ("task", "id", "group")}
        return cls(run_id=run_id, tasks=texts["task"], ids=texts["id"], groups=texts["group"], sums=sums)

    @cached_property
    def by_task(self) -> dict[str, Array]:
        """The rows of `sums` of every task."""
        tasks = np.array(self.tasks)
        return {task: self.sums[tasks == task] for task in sorted(set(self.tasks))}

    def scores(self) -> dict[tuple[str, str], float]:
        """Every score that the samples say, by task (and `mean`, `pooled`) and metric; without those not defined."""
        totals = [rows.sum(0) for rows in self.by_task.values()]
        found = with_aggregates(np.stack([score(total) for total in totals]), score(np.sum(totals, 0)))
        places = [(task, metric) for task in (*self.by_task, "mean", "pooled") for metric in RESAMPLED]
        return {place: float(value) for place, value in zip(places, found.ravel(), strict=True) if np.isfinite(value)}

    def fault(self) -> str | None:
        """What is wrong with it, whatever its record says; None where nothing is."""
        seen: set[tuple[str, str]] = set()
        for place in zip(self.tasks, self.ids, strict=True):
            if place in seen:
                return f"{place[0]} record {place[1]} stands in it twice"
            seen.add(place)
        nats, tokens = self.sums[:, COLUMNS.index("nats")], self.sums[:, COLUMNS.index("tokens")]
        for row in np.flatnonzero(~(np.isfinite(nats) & (nats >= -1e-3) & (tokens > 0))):
            return f"{self.tasks[row]} record {self.ids[row]} has nats {nats[row]:g} over {tokens[row]:g} tokens"
        return None


def score(sums: Array) -> Array:
    """The metrics that follow from sums of samples: (..., COLUMNS and n) -> (..., RESAMPLED); NaN if undefined."""
    part = dict(zip([*COLUMNS, "samples"], np.moveaxis(sums, -1, 0), strict=True))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.stack([_from_sums(name, part) for name in RESAMPLED], axis=-1)


def _from_sums(name: str, part: dict[str, Array]) -> Array:
    from_sums = METRICS[name].from_sums
    assert from_sums is not None, "of RESAMPLED"
    return from_sums(part)


def with_aggregates(by_task: Array, pooled: Array) -> Array:
    """Scores by task with their mean over tasks and the pooled ones at the end: (tasks, ...) -> (tasks + 2, ...)."""
    return np.concatenate([by_task, by_task.mean(0, keepdims=True), pooled[None]])


def tasks_of(samples: Iterable[Samples]) -> list[str]:
    """All tasks of several runs, in order."""
    return sorted({task for one in samples for task in one.by_task})
