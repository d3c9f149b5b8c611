"""What is wrong with a record that is whole: names, curves, routing, scores that cannot be, sums that say otherwise."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.evaluation.metrics import AGGREGATES, declared, is_declared
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.records.record import RunRecord
from hycam_exp.report.samples import Samples
from hycam_exp.runtime.require import require_plain_name

_CLOSE = 1e-9  # relative: what is left of rounding between two ways to the same sum


def fault(record: RunRecord) -> str | None:
    """The first thing that keeps a record out of the report; None for a record that can be used."""
    return next(_faults(record), None)


def _faults(record: RunRecord) -> Iterator[str]:
    if record.config["fold"] not in range(NUM_FOLDS):
        yield f"config.fold={record.config['fold']}: must be in 0..{NUM_FOLDS - 1}"
    for group in ("model", "method", "data"):
        yield from _name(f"config.{group}.name", record.config[group]["name"])
    for task in record.config["data"].get("tasks") or []:
        yield from _name("a task of config.data.tasks", task)
    for name in ("train", "validation"):
        for number, row in enumerate(getattr(record.curves, name)):
            yield from (f"has no curves.{name}[{number}].{key}" for key in ("step", "loss") if key not in row)
    yield from (f"has no weights in routing[{number}]" for number, row in enumerate(record.routing) if not row.weights)
    yield from _scores(record)


def _name(field: str, name: str) -> Iterator[str]:
    """Check a name, after which folders and files are called."""
    try:
        require_plain_name(field, name)
    except ValueError as error:
        yield str(error)


def _scores(record: RunRecord) -> Iterator[str]:
    """Scores that stand there twice, that no such metric can have, or whose mean is not that of the tasks."""
    counts = Counter((score.task, score.metric) for score in record.scores)
    for (task, metric), count in counts.items():
        if count > 1:
            yield f"the score {metric} of {task} stands in it {count} times"
    for score in record.scores:
        if score.value is None or not _is_as_declared(record, score.metric):
            continue
        of = declared(score.metric)
        if not of.allows(score.value):
            limits = f"at least {of.low:g}" if math.isinf(of.high) else f"in {of.low:g}..{of.high:g}"
            yield f"the score {score.metric} of {score.task} is {score.value:g}, must be {limits}"
    for metric in dict.fromkeys(score.metric for score in record.scores):
        yield from _mean(record, metric)


def _is_as_declared(record: RunRecord, metric: str) -> bool:
    """Whether a record's metric is the one that this software computes, and not another version of it."""
    of = record.metrics.get(metric)
    return is_declared(metric) and (of is None or of.version == declared(metric).version)


def _mean(record: RunRecord, metric: str) -> Iterator[str]:
    by_task = {score.task: score.value for score in record.scores if score.metric == metric}
    mean = by_task.get("mean")
    of_tasks = [value for task, value in by_task.items() if task not in (*AGGREGATES, RETENTION)]
    known = [value for value in of_tasks if value is not None]
    if mean is None or not known:
        return
    if len(known) < len(of_tasks):
        yield f"the score {metric} of mean is {mean:g}, and a task has none"
    elif not math.isclose(mean, math.fsum(known) / len(known), rel_tol=_CLOSE, abs_tol=_CLOSE):
        yield f"the score {metric} of mean is {mean:g}, the mean of its tasks {math.fsum(known) / len(known):g}"


def against_samples(record: RunRecord, samples: Samples) -> str | None:
    """How a record's scores differ from what its samples file says; None where they follow from it."""
    found = samples.fault()
    if found is not None:
        return found
    said = samples.scores()
    counts = {task: len(rows) for task, rows in samples.by_task.items()}
    counts |= {"pooled": len(samples.ids), "mean": len(samples.by_task)}
    for score in record.scores:
        place = (score.task, score.metric)
        if place not in said or not _is_as_declared(record, score.metric):
            continue
        if score.value is None or not math.isclose(score.value, said[place], rel_tol=_CLOSE, abs_tol=_CLOSE):
            value = "null" if score.value is None else f"{score.value:.9g}"
            return f"the score {score.metric} of {score.task} is {value}, its samples give {said[place]:.9g}"
        if score.n > counts[score.task] or (score.n < counts[score.task] and score.metric == "ppl"):
            return f"the score {score.metric} of {score.task} is over {score.n}, its samples are {counts[score.task]}"
    return None


def other_declarations(records: Sequence[RunRecord]) -> dict[str, str]:
    """By run id what a record declares a metric to be, where most records declare it otherwise."""
    declarations: dict[str, Counter[tuple[str, ...]]] = {}
    for record in records:
        for metric, of in record.metrics.items():
            declarations.setdefault(metric, Counter())[astuple(of)] += 1
    usual = {metric: counts.most_common(1)[0][0] for metric, counts in declarations.items()}
    found: dict[str, str] = {}
    for record in records:
        for metric, of in record.metrics.items():
            if astuple(of) != usual[metric]:
                here, there = ("; ".join(parts) for parts in (astuple(of), usual[metric]))
                found.setdefault(record.run_id, f"its {metric} is another metric ({here}) than that of most ({there})")
    return found
