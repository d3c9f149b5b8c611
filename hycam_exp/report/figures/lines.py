"""What of a group's rows a figure shows: a line for each row, with its name and its look, and the numbers of it."""

import hashlib
import itertools
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.figures.palette import METHODS, Look, looks_of, variant_look
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.select import over_seeds as rows_over_seeds
from hycam_exp.report.settings import shown
from hycam_exp.report.titles import span

SWEPT = ("num_specialized", "tau")  # fields of a method that have a figure of their own
_LONGEST = 120  # characters of a file name: a file system takes 255 bytes

Point = tuple[float, float, float]  # step, mean, spread


@dataclass(frozen=True, kw_only=True)
class FigureLine:
    """One row in a figure, over its folds or over seeds of one fold."""

    row: SelectedRow
    tail: str
    """As much of its variant as tells it apart from the others in the figure."""
    look: Look
    over: str = "fold"
    """fold or seed: in what its runs differ."""
    fewer: bool = False
    """Another line of the figure has more of them."""

    @property
    def method(self) -> str:
        return self.row.method

    @property
    def runs(self) -> tuple[FinishedRun, ...]:
        return self.row.runs

    @property
    def units(self) -> list[list[FinishedRun]]:
        """The runs by what its mean and spread are over: of every fold those of its seeds, or every one."""
        return list(self.row.by_fold.values()) if self.over == "fold" else [[run] for run in self.runs]

    def of_units(self, value: Callable[[FinishedRun], float | None]) -> list[float] | None:
        """A number of every unit, the mean over its runs; None if one of them has none."""
        found = [[value(run) for run in unit] for unit in self.units]
        known = [[v for v in of_unit if v is not None] for of_unit in found]
        whole = known and all(len(a) == len(b) for a, b in zip(known, found, strict=True))
        return [statistics.fmean(of_unit) for of_unit in known] if whole else None

    def values(self, metric: str, task: str = "mean") -> list[float] | None:
        """The score of every unit; None if one of them has none."""
        return self.of_units(lambda run: run.score(metric, task))

    @property
    def label(self) -> str:
        """What a reader sees."""
        name = f"{self.look.name}, {self.tail}" if self.tail else self.look.name
        return f"{name} ({basis([self])})" if self.fewer else name

    @property
    def file_name(self) -> str:
        """The method's name, and with it the variant's, fit for a file."""
        name = "-".join(part for part in (self.method, re.sub(r"[^\w.]+", "-", self.tail)) if part)
        return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def key(self) -> tuple[str, str]:
        """What it is called in the data."""
        return self.method, self.row.variant_text


Shown = Sequence[FigureLine] | Mapping[Any, Mapping[Any, FigureLine]]
"""All that a figure depends on, perhaps by what sets its lines apart; where nothing is shown, there is no figure."""


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample standard deviation; one value has a spread of nothing."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def basis(lines: Sequence[FigureLine]) -> str:
    """What means and spreads are over: "5 folds", "3 to 5 folds of 2 trainings", "5 folds or 3 seeds"."""
    counts: dict[str, list[int]] = {}
    for line in lines:
        counts.setdefault(line.over, []).append(len(line.units))
    found = []
    for over, numbers in sorted(counts.items()):
        trainings = [len(unit) for line in lines if line.over == over for unit in line.units]
        of = f" of {span(trainings)} trainings" if max(trainings, default=1) > 1 else ""
        found.append(f"{span(numbers)} {over}{'s' * (max(numbers) > 1)}{of}")
    return " or ".join(found)


def place(run: FinishedRun) -> tuple[int, int, int]:
    """A run's fold, seed and version of the results."""
    return run.fold, run.seed, run.version


def over_folds(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """A line for each row, over its folds, but for those of sweeps and switches."""
    return named(standard(rows), "fold")


def scored(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """Of `over_folds`, the lines whose every run has a perplexity."""
    return [line for line in over_folds(rows) if line.values("ppl")]


def over_seeds(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """A line for each row with several seeds of one fold."""
    return named(rows_over_seeds(standard(rows)), "seed")


def named(rows: Sequence[SelectedRow], over: str) -> list[FigureLine]:
    """A line for each row, in the order of the methods; of a method's rows the first has its own look."""
    looks = looks_of([row.method for row in rows], METHODS)
    found = []
    for method in sorted({row.method for row in rows}, key=_rank):
        members = sorted((row for row in rows if row.method == method), key=lambda row: row.variant_text)
        tails = short([row.variant for row in members])
        for index, (row, tail) in enumerate(zip(members, tails, strict=True)):
            found.append(FigureLine(row=row, tail=tail, look=variant_look(looks[method], index), over=over))
    most = max((len(line.units) for line in found), default=0)
    return [replace(line, fewer=len(line.units) < most) for line in found]


def _rank(method: str) -> tuple[int, str]:
    order = list(METHODS)
    return (order.index(method) if method in order else len(order)), method


def short(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """As little of each variant's values as tells them apart, in words; in full where their fields alone do not."""
    for number in range(1, max(map(len, variants), default=0) + 1):
        leading = [list(variant.items())[:number] for variant in variants]
        labels = [", ".join(shown({key.rpartition(".")[2]: value}) for key, value in pairs) for pairs in leading]
        if len(set(labels)) == len(labels):
            return labels
    return [shown(variant) for variant in variants]


def standard(rows: Sequence[SelectedRow]) -> list[SelectedRow]:
    """Without the rows that a sweep of N_s or tau, or a switch to the released code, added."""
    return own(rows, *SWEPT, *_switched())


def own(rows: Sequence[SelectedRow], *fields: str) -> list[SelectedRow]:
    """Without the rows that set one of a method's fields, where the method was run without, too."""
    kept = [row for row in rows if not _sets(row, fields)]
    plain = {row.method for row in kept}
    return [row for row in rows if row in kept or row.method not in plain]


def _sets(row: SelectedRow, fields: Sequence[str]) -> bool:
    keys = tuple(f"method.{field}" for field in fields)
    return any(key in keys or key.startswith(tuple(f"{k}." for k in keys)) for key in row.variant)


@cache
def _switched() -> tuple[str, ...]:
    """The fields of a method that a file of conf/released sets."""
    from hycam_exp.config.compose import config_dir

    files = sorted((config_dir() / "released").glob("*.yaml"))
    return tuple(dict.fromkeys(field for path in files for field in yaml.safe_load(path.read_text(encoding="utf-8"))))


def losses(run: FinishedRun, name: str) -> list[tuple[float, float]]:
    """Steps and losses of a run.

    Training losses jump from batch to batch: they are averaged from validation to validation. Of a long run the record
    holds means over windows; a window counts where it ends.
    """
    validations = [(row["step"], row["loss"]) for row in run.curve("validation")]
    if name == "validation":
        return validations
    steps, found = run.curve("train"), []
    for before, after in itertools.pairwise([0, *(step for step, _ in validations)]):
        part = [row["loss"] for row in steps if before < row["step"] <= after]
        if part:
            found.append((after, statistics.fmean(part)))
    return found


def curve(line: FigureLine, name: str) -> list[Point]:
    """Mean and spread of the units' losses, taken in order and as far as every run went.

    Validations of different folds come after the same share of an epoch, not after the same step: the step is the mean.
    """
    units = [_averaged([losses(run, name) for run in unit]) for unit in line.units]
    points = []
    for rows in zip(*units, strict=False):
        step, _ = mean_and_spread([step for step, _ in rows])
        mean, spread = mean_and_spread([loss for _, loss in rows])
        points.append((step, mean, spread))
    return points


def _averaged(runs: Sequence[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Steps and losses of several seeds of a fold, as far as every one went."""
    if len(runs) == 1:
        return runs[0]
    return [
        (statistics.fmean(step for step, _ in rows), statistics.fmean(loss for _, loss in rows))
        for rows in zip(*runs, strict=False)
    ]


def with_curves(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """The rows with curves, over folds."""
    return [line for line in over_folds(rows) if curve(line, "validation")]


def with_seeds(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """The rows with curves of several seeds of one fold, where there are two to compare."""
    found = [line for line in over_seeds(rows) if curve(line, "validation")]
    return found if len(found) > 1 else []


@dataclass(frozen=True)
class Sweep:
    """A swept field."""

    field: str
    label: str
    log: bool


NUM_SPECIALIZED = Sweep("num_specialized", "number of specialized CAMs", log=False)
TAU = Sweep("tau", "temperature tau", log=True)

Swept = dict[tuple[str, str], dict[float, FigureLine]]
"""For every method and variant, a line for each value."""


def swept(rows: Sequence[SelectedRow], sweep: Sweep) -> Swept:
    """The variants that several values were tried of, with the values that have scores, two at least, in order."""
    alike: dict[tuple[str, str], dict[float, SelectedRow]] = {}
    for row in own(rows, *_switched()):
        value = row.runs[0].method_field(sweep.field)
        if isinstance(value, int | float):
            variant = {key: v for key, v in row.variant.items() if key != f"method.{sweep.field}"}
            alike.setdefault((row.method, shown(variant)), {})[value] = replace(row, variant=variant)
    found: Swept = {}
    for key, by_value in sorted(alike.items()):
        lines = {value: named([by_value[value]], "fold")[0] for value in sorted(by_value)}
        tested = {value: line for value, line in lines.items() if line.values("ppl") is not None}
        if len(tested) > 1:
            found[key] = tested
    return found


def gain(run: FinishedRun) -> tuple[float, float, float, float] | None:
    """PPL before, PPL, the part of it that went away, the change of general text's PPL; None without."""
    before, after = run.score("ppl_before"), run.score("ppl")
    change = run.score("ppl_change", RETENTION)
    if before is None or after is None or change is None or before == 0:
        return None
    return before, after, 1 - after / before, change


def with_both(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """The rows whose every run has a gain and a change of general text."""
    return [line for line in over_folds(rows) if all(gain(run) for run in line.runs)]


def routed(rows: Sequence[SelectedRow]) -> list[FigureLine]:
    """The rows that route."""
    return [line for line in over_folds(rows) if line.runs[0].routing]


def all_lines(shown: Shown) -> Iterable[FigureLine]:
    """Every line of what a figure shows."""
    if isinstance(shown, Mapping):
        return [line for by_value in shown.values() for line in by_value.values()]
    return shown
