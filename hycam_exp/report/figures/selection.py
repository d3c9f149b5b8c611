"""What of the summaries each figure shows: its lines, and the numbers of them that are more than a score."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.figures.lines import (
    WITHIN,
    Line,
    mean_and_spread,
    of_method,
    over_folds,
    over_seeds,
    setting,
    swept,
    unswitched,
    without,
)
from hycam_exp.report.select import Summary
from hycam_exp.report.setting import shown
from hycam_exp.runs import RunRecord

Point = tuple[float, float, float]  # step, mean, spread


def losses(record: RunRecord, name: str) -> list[tuple[float, float]]:
    """Steps and losses of a run.

    A batch holds texts of one length, so that training losses jump: they are averaged from validation to validation.
    Of a long run the record holds means over windows; a window counts where it ends.
    """
    validations = [(row["step"], row["loss"]) for row in record.curves.get("validation") or []]
    if name == "validation":
        return validations
    steps, found = record.curves.get("train") or [], []
    for before, after in itertools.pairwise([0, *(step for step, _ in validations)]):
        part = [row["loss"] for row in steps if before < row["step"] <= after]
        if part:
            found.append((after, statistics.fmean(part)))
    return found


def curve(line: Line, name: str) -> list[Point]:
    """Mean and spread of the runs' losses, taken in order and as far as every run went.

    Validations of different folds come after the same share of an epoch, not after the same step: the step is the mean.
    """
    runs = [losses(record, name) for record in line.records]
    points = []
    for rows in zip(*runs, strict=False):
        step, _ = mean_and_spread([step for step, _ in rows])
        mean, spread = mean_and_spread([loss for _, loss in rows])
        points.append((step, mean, spread))
    return points


def with_curves(summaries: Sequence[Summary]) -> list[Line]:
    """The settings with curves, over folds."""
    return [line for line in over_folds(summaries) if curve(line, "validation")]


def with_seeds(summaries: Sequence[Summary]) -> list[Line]:
    """The settings with curves of several seeds of one fold, where there are two to compare."""
    found = [line for line in over_seeds(summaries) if curve(line, "validation")]
    return found if len(found) > 1 else []


@dataclass(frozen=True)
class Sweep:
    """A swept field."""

    field: str
    label: str
    log: bool


NUM_SPECIALIZED = Sweep("num_specialized", "number of specialized CAMs", log=False)
TAU = Sweep("tau", "temperature tau", log=True)


Settings = dict[tuple[str, str], dict[float, Line]]
"""For every method and variant, a line for each value."""


def settings(summaries: Sequence[Summary], sweep: Sweep) -> Settings:
    """The settings that several values were tried of, with the values that have scores, two at least, in order."""
    alike: dict[tuple[str, str], dict[float, list[Summary]]] = {}
    differing: dict[tuple[str, str], Mapping[str, Any]] = {}
    for summary in unswitched(summaries):
        value = setting(summary, sweep.field)
        if isinstance(value, int | float):
            values = without(summary.differing, *WITHIN, of_method(sweep.field))
            key = summary.method, shown(values)
            differing[key] = values
            alike.setdefault(key, {}).setdefault(value, []).append(summary)
    found: Settings = {}
    for key, by_value in sorted(alike.items()):
        lines = {value: replace(swept(by_value[value]), differing=differing[key]) for value in sorted(by_value)}
        scored = {value: line for value, line in lines.items() if line.values("ppl") is not None}
        if len(scored) > 1:
            found[key] = scored
    return found


def points(line: Line) -> list[tuple[float, float, float, float]] | None:
    """Of every run: PPL before, PPL, the part of it that went away, the change of general text's PPL; None without."""
    before, after = line.values("ppl_before"), line.values("ppl")
    change = line.values("ppl_change", RETENTION)
    if before is None or after is None or change is None or 0 in before:
        return None
    return [(b, a, 1 - a / b, c) for b, a, c in zip(before, after, change, strict=True)]


def with_both(summaries: Sequence[Summary]) -> list[Line]:
    """The settings whose every run has both."""
    return [line for line in over_folds(summaries) if points(line)]


def routed(summaries: Sequence[Summary]) -> list[Line]:
    """The settings that route."""
    return [line for line in over_folds(summaries) if line.records[0].routing]
