"""Paired bootstrap over test samples (Koehn 2004), by group, from the statistics in the samples files.

Within every task and fold the groups (a prompt or passage with all its records) are drawn with replacement, the same
draw for every row, never the folds. E.g. `Bootstrap(source, cache).compare(hycam, lora, "ppl", "mean")`.
It says how much a difference owes to the test samples, and nothing about another training run.
"""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hycam_exp.evaluation.metrics import declared
from hycam_exp.report.cache import Cache, digest
from hycam_exp.report.frame import Problem
from hycam_exp.report.samples import COLUMNS, RESAMPLED, Array, Samples, score, with_aggregates
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.statistics.significance import LEVEL

RESAMPLES = 10_000
CHUNK = 1 << 21  # drawn group indices that are in memory at once


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """A paired difference of one score, ours minus the other's."""

    difference: float
    interval: tuple[float, float]
    """The 95% interval of percentiles."""
    share_better: float
    """The share of resamples in which ours is better; a tie counts half."""
    groups: int
    """How many groups were drawn from in all."""


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """Scores of several rows on the same draws; a score is the mean over folds of its mean over seeds in each."""

    names: list[str]
    tasks: list[str]
    """With `mean` (over tasks) and `pooled` at the end."""
    groups: dict[str, int]
    """Of every one of `tasks`, over all folds."""
    observed: Array
    """(tasks, rows, metrics), on the samples as they are."""
    drawn: Array
    """(tasks, resamples, rows, metrics)."""

    def compare(self, ours: int, other: int, metric: str, task: str = "mean") -> Resampled | None:
        """One row against another by their places in `names`; None where a score is not defined in every draw."""
        row, column = self.tasks.index(task), RESAMPLED.index(metric)
        observed, drawn = self.observed[row, :, column], self.drawn[row, :, :, column]
        differences = drawn[:, ours] - drawn[:, other]
        if not np.isfinite(differences).all():
            return None
        low, high = np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2])
        better = differences < 0 if declared(metric).better == "lower" else differences > 0
        return Resampled(
            difference=float(observed[ours] - observed[other]),
            interval=(float(low), float(high)),
            share_better=float(better.mean() + (differences == 0).mean() / 2),
            groups=self.groups[task],
        )


def check_paired(a: Samples, b: Samples) -> None:
    """Raise a `ValueError` that names a record that one run has and the other lacks, or has in another group."""
    first, second = ({(t, i): g for t, i, g in zip(s.tasks, s.ids, s.groups, strict=True)} for s in (a, b))
    for has, lacks, records in ((a, b, first.keys() - second.keys()), (b, a, second.keys() - first.keys())):
        if records:
            task, id = min(records)
            raise ValueError(
                f"{has.run_id} was tested on {task} record {id}, {lacks.run_id} was not (records that differ:"
                f" {len(records)}): a paired bootstrap needs the same test records"
            )
    moved = [record for record, group in first.items() if second[record] != group]
    if moved:
        task, id = min(moved)
        raise ValueError(f"{a.run_id} and {b.run_id}: {task} record {id} is in another group (records: {len(moved)})")


def draws(seed: int, fold: int, task: str, groups: int, resamples: int) -> Iterator[Array]:
    """How often each group is drawn, in chunks of (some resamples, groups): the same for whatever is compared."""
    rng = np.random.default_rng([seed, fold, zlib.crc32(task.encode())])
    rows = max(1, CHUNK // groups)
    for start in range(0, resamples, rows):
        n = min(rows, resamples - start)
        drawn = rng.integers(0, groups, size=(n, groups)) + groups * np.arange(n)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * groups).reshape(n, groups).astype(float)


def resample(folds: Mapping[int, Sequence[Sequence[Samples]]], resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
    """Resamples of rows on the same folds: for each fold, of every row in one order the samples of its seeds.

    Raises:
        ValueError: the rows of a fold were not tested on the same records.
    """
    first = next(iter(folds.values()))
    tasks = sorted({task for fold in folds.values() for task in fold[0][0].by_task})
    observed = np.zeros((len(tasks) + 2, 1, len(first), len(RESAMPLED)))
    drawn = np.zeros((len(tasks) + 2, resamples, len(first), len(RESAMPLED)))
    groups = dict.fromkeys(tasks, 0)
    for fold, rows in folds.items():
        members = [samples for seeds in rows for samples in seeds]
        for other in members[1:]:
            check_paired(members[0], other)
        if set(members[0].by_task) != set(tasks):
            raise ValueError(f"{members[0].run_id}: tested on {sorted(members[0].by_task)}, other folds on {tasks}")
        by_group = {task: _by_group(members, task) for task in tasks}
        for task, sums in by_group.items():
            groups[task] += len(sums)
        seeds = list(map(len, rows))
        observed += _over_seeds([sums.sum(0, keepdims=True) for sums in by_group.values()], seeds) / len(folds)
        totals = [_resampled(sums, draws(seed, fold, task, len(sums), resamples)) for task, sums in by_group.items()]
        drawn += _over_seeds(totals, seeds) / len(folds)
    every = sum(groups.values())
    return Resamples(
        names=[seeds[0].run_id for seeds in first],
        tasks=[*tasks, "mean", "pooled"],
        groups={**groups, "mean": every, "pooled": every},
        observed=observed[:, 0],
        drawn=drawn,
    )


def _by_group(members: Sequence[Samples], task: str) -> Array:
    """A task's sums by group: (groups, runs, statistics), groups in sorted order."""
    names = sorted({g for t, g in zip(members[0].tasks, members[0].groups, strict=True) if t == task})
    place = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), len(members), len(COLUMNS) + 1))
    for run, samples in enumerate(members):
        rows = [row for row, of in enumerate(samples.tasks) if of == task]
        np.add.at(sums[:, run], [place[samples.groups[row]] for row in rows], samples.sums[rows])
    return sums


def _resampled(sums: Array, counts: Iterator[Array]) -> Array:
    """Sums of every resample: (groups, runs, statistics) -> (resamples, runs, statistics)."""
    flat = sums.reshape(len(sums), -1)
    return np.concatenate([chunk @ flat for chunk in counts]).reshape(-1, *sums.shape[1:])


def _over_seeds(totals: Sequence[Array], seeds: Sequence[int]) -> Array:
    """Scores of one fold per task, as the mean over tasks, and pooled, from the tasks' sums, as means over seeds:
    tasks of (resamples, runs, statistics) -> (tasks + 2, resamples, rows, metrics).
    """
    of_runs = with_aggregates(np.stack([score(sums) for sums in totals]), score(np.sum(totals, axis=0)))
    starts = np.cumsum([0, *seeds])
    return np.stack([of_runs[:, :, a:b].mean(2) for a, b in pairwise(starts)], axis=2)


def resample_rows(
    rows: Sequence[SelectedRow], source: RecordSource, resamples: int = RESAMPLES, seed: int = 0
) -> Resamples:
    """Resamples of rows of one group over the folds that all of them have.

    Raises:
        ValueError: no fold is common, a samples file is missing, or test records differ; names what.
    """
    shared = sorted(set.intersection(*(set(row.folds) for row in rows)))
    if not shared:
        raise ValueError(f"no fold is common to {', '.join(row.label for row in rows)}")
    folds = {
        fold: [[Samples.read(source.samples(run.id), run.id) for run in row.by_fold[fold]] for row in rows]
        for fold in shared
    }
    return replace(resample(folds, resamples, seed), names=[row.label for row in rows])


@dataclass
class Bootstrap:
    """The bootstrap between two rows, remembered between reports for as long as their samples files are the same."""

    source: RecordSource
    cache: Cache
    resamples: int = RESAMPLES
    problems: list[Problem] = field(default_factory=list)
    """Rows whose samples cannot be compared."""
    _faults: set[str] = field(default_factory=set)
    _files: dict[Path, str] = field(default_factory=dict)
    """A digest of each samples file."""

    def compare(self, ours: SelectedRow, other: SelectedRow, metric: str, task: str) -> Resampled | None:
        """One row against another; None where a run has no samples file, or the score is not defined in a draw."""
        paths = [self.source.samples(run.id) for row in (ours, other) for run in row.runs]
        key = self._key(paths)
        if key in self._faults or not all(self._files[path] for path in paths):
            return None
        try:
            scores = self.cache.get("bootstrap", key, lambda: self._made(ours, other))
        except ValueError as error:  # which is told, and told again in the next report
            self._faults.add(key)
            self.problems.append(
                Problem(f"{ours.model} x {ours.label} against {other.label}", f"no bootstrap: {error}")
            )
            return None
        found = scores.get(f"{task} {metric}")
        return None if found is None else Resampled(**{**found, "interval": tuple(found["interval"])})

    def _made(self, ours: SelectedRow, other: SelectedRow) -> dict[str, Any]:
        """What two rows give, by task and metric."""
        drawn = resample_rows([ours, other], self.source, self.resamples)
        places = [(task, metric) for task in drawn.tasks for metric in RESAMPLED]
        found = {(task, metric): drawn.compare(0, 1, metric, task) for task, metric in places}
        return {f"{task} {metric}": None if one is None else asdict(one) for (task, metric), one in found.items()}

    def _key(self, paths: Sequence[Path]) -> str:
        """The cache's key: the contents of the samples files in the order of rows and folds."""
        for path in paths:
            if path not in self._files:
                self._files[path] = digest(path)
        text = " ".join([str(self.resamples), *(self._files[path] for path in paths)])
        return hashlib.sha256(text.encode()).hexdigest()
