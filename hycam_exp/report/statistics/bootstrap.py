"""Paired bootstrap over test samples (Koehn 2004), by group, from the statistics in the samples files.

Within every task and fold the groups (a prompt or passage with all its records) are drawn with replacement, the same
draw for every method, never the folds. E.g. `resample_settings([hycam, lora], results).compare(0, 1, "ppl")`.
It says how much a difference owes to the test samples, and nothing about another training run.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hycam_exp.evaluation.metrics import SCORES, declared
from hycam_exp.report.samples import read_table
from hycam_exp.report.select import Summary
from hycam_exp.report.statistics.significance import LEVEL, check_same_records
from hycam_exp.runs import Store

ORDERS = range(1, 5)
CORRECT, TOTAL = [f"bleu_correct_{n}" for n in ORDERS], [f"bleu_total_{n}" for n in ORDERS]
GENERATED = [*CORRECT, *TOTAL, "prediction_length", "reference_length", "rouge_l"]
COLUMNS = ["nats", "tokens", *GENERATED]
RESAMPLES = 10_000
CHUNK = 1 << 21  # drawn group indices that are in memory at once
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One run's test samples; `sums` is (samples, COLUMNS and a 1), NaN where nothing was decoded."""

    run_id: str
    tasks: list[str]
    ids: list[str]
    groups: list[str]
    sums: Array


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """A paired difference of one score, ours minus the other's."""

    difference: float
    interval: tuple[float, float]
    """95%, percentiles."""
    share_better: float
    """The share of resamples in which ours is better; a tie counts half."""
    groups: int
    """How many groups were drawn from in all."""


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """Scores of several methods on the same draws; a score is the mean over folds of its value in each."""

    names: list[str]
    tasks: list[str]
    """With `mean` (over tasks) and `pooled` at the end."""
    groups: dict[str, int]
    """Of every one of `tasks`, over all folds."""
    observed: Array
    """(tasks, methods, metrics), on the samples as they are."""
    drawn: Array
    """(tasks, resamples, methods, metrics)."""

    def compare(self, ours: int, other: int, metric: str, task: str = "mean") -> Resampled | None:
        """One method against another by their places in `names`; None where a score is not defined in every draw."""
        row, column = self.tasks.index(task), list(SCORES).index(metric)
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


def read_samples(path: Path, run_id: str) -> Samples:
    """The statistics of a samples file.

    Raises:
        ValueError: there is no such file, or it is not a samples file; names it.
    """
    table = read_table(path, ("task", "id", "group", "nats", "tokens"))
    sums = np.full((table.num_rows, len(COLUMNS) + 1), np.nan)
    sums[:, -1] = 1
    for index, name in enumerate(COLUMNS):
        if name in table.column_names:
            sums[:, index] = table[name].to_numpy()
    texts = {name: table[name].to_pylist() for name in ("task", "id", "group")}
    return Samples(run_id=run_id, tasks=texts["task"], ids=texts["id"], groups=texts["group"], sums=sums)


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


def measure(sums: Array) -> Array:
    """`SCORES`, BLEU-4 on 0..1, of summed statistics: (..., COLUMNS and n) -> (..., 3); NaN if undefined."""
    part = dict(zip([*COLUMNS, "samples"], np.moveaxis(sums, -1, 0), strict=True))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        perplexity = np.exp(part["nats"] / part["tokens"])
        perplexity = np.where(np.isfinite(perplexity), perplexity, np.nan)
        found = {"ppl": perplexity, "bleu4": _bleu(part), "rouge_l": part["rouge_l"] / part["samples"]}
        return np.stack([found[metric] for metric in SCORES], axis=-1)


def _bleu(part: dict[str, Array]) -> Array:
    """sacrebleu's corpus BLEU with exponential smoothing; 0 without any match or with no 4-gram at all."""
    length, reference = part["prediction_length"], part["reference_length"]
    logs, smoothing = np.zeros_like(length), np.ones_like(length)
    matches, shortest = np.zeros_like(length), np.full_like(length, np.inf)
    for correct, total in zip(CORRECT, TOTAL, strict=True):
        none = part[correct] == 0
        smoothing = np.where(none, smoothing * 2, smoothing)
        logs = logs + np.log(np.where(none, 1 / smoothing, part[correct]) / part[total])
        matches, shortest = matches + part[correct], np.minimum(shortest, part[total])
    brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
    score = brevity * np.exp(logs / len(CORRECT))
    return np.where((matches == 0) | (shortest == 0), 0.0, score)


def draws(seed: int, fold: int, task: str, groups: int, resamples: int) -> Iterator[Array]:
    """How often each group is drawn, in chunks of (some resamples, groups): the same for whatever is compared."""
    rng = np.random.default_rng([seed, fold, zlib.crc32(task.encode())])
    rows = max(1, CHUNK // groups)
    for start in range(0, resamples, rows):
        n = min(rows, resamples - start)
        drawn = rng.integers(0, groups, size=(n, groups)) + groups * np.arange(n)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * groups).reshape(n, groups).astype(float)


def resample(folds: Mapping[int, Sequence[Samples]], resamples: int = RESAMPLES, seed: int = 0) -> Resamples:
    """Resamples of methods on the same folds: for each fold, the samples of every method in one order.

    Raises:
        ValueError: the methods of a fold were not tested on the same records.
    """
    tasks = sorted({task for fold in folds.values() for task in fold[0].tasks})
    methods = len(next(iter(folds.values())))
    observed = np.zeros((len(tasks) + 2, 1, methods, len(SCORES)))
    drawn = np.zeros((len(tasks) + 2, resamples, methods, len(SCORES)))
    groups = dict.fromkeys(tasks, 0)
    for fold, members in folds.items():
        for other in members[1:]:
            check_paired(members[0], other)
        if set(members[0].tasks) != set(tasks):
            raise ValueError(f"{members[0].run_id}: tested on {sorted(set(members[0].tasks))}, other folds on {tasks}")
        by_group = {task: _by_group(members, task) for task in tasks}
        for task, sums in by_group.items():
            groups[task] += len(sums)
        observed += _fold_scores([sums.sum(0, keepdims=True) for sums in by_group.values()]) / len(folds)
        totals = [_resampled(sums, draws(seed, fold, task, len(sums), resamples)) for task, sums in by_group.items()]
        drawn += _fold_scores(totals) / len(folds)
    every = sum(groups.values())
    return Resamples(
        names=[samples.run_id for samples in next(iter(folds.values()))],
        tasks=[*tasks, "mean", "pooled"],
        groups={**groups, "mean": every, "pooled": every},
        observed=observed[:, 0],
        drawn=drawn,
    )


def _by_group(members: Sequence[Samples], task: str) -> Array:
    """A task's sums by group: (groups, methods, statistics), groups in sorted order."""
    names = sorted({g for t, g in zip(members[0].tasks, members[0].groups, strict=True) if t == task})
    place = {name: index for index, name in enumerate(names)}
    sums = np.zeros((len(names), len(members), len(COLUMNS) + 1))
    for method, samples in enumerate(members):
        rows = [row for row, of in enumerate(samples.tasks) if of == task]
        np.add.at(sums[:, method], [place[samples.groups[row]] for row in rows], samples.sums[rows])
    return sums


def _resampled(sums: Array, counts: Iterator[Array]) -> Array:
    """Sums of every resample: (groups, methods, statistics) -> (resamples, methods, statistics)."""
    flat = sums.reshape(len(sums), -1)
    return np.concatenate([chunk @ flat for chunk in counts]).reshape(-1, *sums.shape[1:])


def _fold_scores(totals: Sequence[Array]) -> Array:
    """Scores of one fold per task, as the mean over tasks, and pooled, from the tasks' sums."""
    by_task = np.stack([measure(sums) for sums in totals])
    pooled = measure(np.sum(totals, axis=0))
    return np.concatenate([by_task, by_task.mean(0, keepdims=True), pooled[None]])


def resample_settings(
    settings: Sequence[Summary], results: Path, resamples: int = RESAMPLES, seed: int = 0
) -> Resamples:
    """Resamples of settings over the folds that all of them have; `results` holds runs/.

    Raises:
        ValueError: no fold is common, a samples file is missing, or test records differ; names what.
    """
    for other in settings[1:]:
        check_same_records(settings[0], other)
    shared = sorted(set.intersection(*(set(setting.folds) for setting in settings)))
    if not shared:
        raise ValueError(f"no fold is common to {', '.join(setting.label for setting in settings)}")
    store = Store(results, results)
    folds = {fold: [_samples_of(store, setting, fold) for setting in settings] for fold in shared}
    found = resample(folds, resamples, seed)
    return replace(found, names=[setting.label for setting in settings])


def _samples_of(store: Store, setting: Summary, fold: int) -> Samples:
    run_id = next(record.run_id for record in setting.records if record.config["fold"] == fold)
    return read_samples(store.samples_path(run_id), run_id)
