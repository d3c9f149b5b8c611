"""Which runs belong to a row: the one rule by which tables, statistics, claims, figures and the page select.

A *group* is what may be compared: one backbone and data mix, everything but method and recipe the same, one content of
the data, one split of each fold, one origin of the weights. A *row* of it is one method in one variant, which is named
by what differs from the YAML files (or from what a table's experiment asks for), over its folds. Of a fold it has the
seeds that the experiment asks for, and further ones where all folds have some; without an experiment, as many as most
of its folds have. What a group leaves out is named.

rows(frame)["tiny_llama-mini"].ours  # HyCAM as its YAML sets it
"""

import statistics
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import Any

from hycam_exp.config.methods import method_named
from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.report import settings
from hycam_exp.report.experiments import Expected, Experiments
from hycam_exp.report.frame import FinishedRun, Frame, Problem
from hycam_exp.report.titles import folds_text

OURS = "hycam"
RANKS = ("method.rank", "recipe.rank")


def is_peft(method: str) -> bool:
    """Whether it leaves the backbone's weights alone; a record's method that is gone from `METHODS` is taken to."""
    return not method_named(method).trains_backbone


@dataclass(frozen=True, kw_only=True, eq=False)
class SelectedRow:
    """One method in one variant over the folds of a group."""

    model: str
    method: str
    data: str
    variant: Mapping[str, Any]
    """The values of method and recipe that are not the usual ones."""
    runs: tuple[FinishedRun, ...]
    """By fold, then seed."""
    further: tuple[FinishedRun, ...] = ()
    """Runs of the same setting that are not in it: seeds that only some folds have, cells that were run twice."""
    frame: Frame
    """The frame that its runs are of."""
    mixed: str | None = None
    """How runs differ that are in the row only because the user allowed it."""

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: the row with no other runs than its own."""
        return {**self.__dict__, "frame": Frame((*self.runs, *self.further))}

    @property
    def variant_text(self) -> str:
        """What sets it apart, in words."""
        return settings.shown(self.variant)

    @property
    def label(self) -> str:
        """The method, with what sets this variant of it apart."""
        return f"{self.method} ({self.variant_text})" if self.variant else self.method

    @cached_property
    def by_fold(self) -> dict[int, list[FinishedRun]]:
        """Its runs of every fold."""
        return {fold: [run for run in self.runs if run.fold == fold] for fold in sorted({r.fold for r in self.runs})}

    @property
    def folds(self) -> tuple[int, ...]:
        return tuple(self.by_fold)

    @property
    def is_complete(self) -> bool:
        """Whether all folds are there."""
        return self.folds == tuple(range(NUM_FOLDS))

    @property
    def is_scored(self) -> bool:
        """Whether it was tested in every fold."""
        return self.mean("ppl") is not None

    @property
    def cells(self) -> set[tuple[int, int]]:
        """Fold and seed of every run of the setting, in the row or not."""
        return {(run.fold, run.seed) for run in (*self.runs, *self.further)}

    @property
    def seeds(self) -> tuple[int, ...]:
        """How many seeds each fold has."""
        return tuple(map(len, self.by_fold.values()))

    def of_folds(self, value: Callable[[FinishedRun], float | None]) -> list[float | None]:
        """A number of every fold: the mean over its seeds; None where a run has none."""
        return [mean_of([value(run) for run in runs]) for runs in self.by_fold.values()]

    @cached_property
    def _by_fold(self) -> dict[tuple[str, str], list[float | None]]:
        """Every score of every fold, the mean over its seeds, by metric and task; None where a run has none."""
        of_runs = self.frame.by_run.loc[[run.id for run in self.runs]]
        of_folds = of_runs.groupby([run.fold for run in self.runs]).mean(skipna=False)
        columns = zip(of_folds.columns, of_folds.to_numpy().T.tolist(), strict=True)
        return {place: [None if isnan(v) else v for v in values] for place, values in columns}

    def values(self, metric: str, task: str = "mean") -> list[float | None]:
        """A score of every fold: the mean over its seeds."""
        return self._by_fold.get((metric, task), [None] * len(self.folds)) if self.runs else []

    def known(self, metric: str, task: str = "mean") -> list[float] | None:
        """A score of every fold; None if one of them has none."""
        found = [value for value in self.values(metric, task) if value is not None]
        return found if found and len(found) == len(self.folds) else None

    def mean(self, metric: str, task: str = "mean") -> float | None:
        """The mean over folds; None if a fold has no such score."""
        return mean_of(self.values(metric, task))

    def spread(self, metric: str, task: str = "mean") -> float | None:
        """The sample standard deviation over folds; None for fewer than two."""
        return spread_of(self.values(metric, task))


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is absent or there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def spread_of(values: Sequence[float | None]) -> float | None:
    """The sample standard deviation; None if a value is absent or there are fewer than two."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 and len(known) == len(values) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparableRows:
    """The rows that may be compared, by method and variant."""

    model: str
    data: str
    fixed: str
    """What all its runs share."""
    rows: tuple[SelectedRow, ...]
    is_asked_for: bool
    """Whether a table's experiment asks for such runs."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.model}-{self.data}"

    @property
    def runs(self) -> list[FinishedRun]:
        return [run for row in self.rows for run in (*row.runs, *row.further)]

    @property
    def weights(self) -> str:
        """Where the backbone's weights came from."""
        return self.runs[0].weights

    def row(self, method: str, variant: Mapping[str, Any]) -> SelectedRow | None:
        """The row of a method in a variant."""
        same = (r for r in self.rows if r.method == method and not settings.apart(r.variant, variant))
        return next(same, None)

    @property
    def ours(self) -> SelectedRow | None:
        """HyCAM as its YAML sets it, of any rank: the row with the fewest other values, then that of most folds."""
        found = [
            row
            for row in self.rows
            if row.method == OURS and row.is_scored and set(settings.of_method(row.variant)) <= set(RANKS)
        ]
        return min(found, key=lambda row: (len(row.variant), -len(row.folds), row.label), default=None)


@dataclass(frozen=True, eq=False)
class Selection:
    """The groups of a frame, and what stands in none."""

    frame: Frame
    groups: tuple[ComparableRows, ...]
    left_out: tuple[tuple[FinishedRun, str], ...]
    """Runs on other data, other weights or another split than most of their group, with the difference."""

    @cached_property
    def main(self) -> dict[str, ComparableRows]:
        """Of every backbone and data mix the group that figures, claims and statistics are of, by its name: that which
        a table's experiment asks for, else that of most runs."""
        found: dict[str, ComparableRows] = {}
        for group in sorted(self.groups, key=lambda g: (g.name, not g.is_asked_for, -len(g.runs), g.fixed)):
            found.setdefault(group.name, group)
        return found

    @property
    def rows(self) -> list[SelectedRow]:
        """The rows of all groups, by model, data, method and variant."""
        return [row for group in self.groups for row in group.rows]

    @property
    def beside(self) -> list[SelectedRow]:
        """The rows of no main group: they are in tables at most."""
        main = {id(row) for group in self.main.values() for row in group.rows}
        return [row for row in self.rows if id(row) not in main]

    @property
    def problems(self) -> list[Problem]:
        """What was left out, by row."""
        found: dict[tuple[str, str], list[FinishedRun]] = {}
        for run, difference in self.left_out:
            found.setdefault((" x ".join(run.names), difference), []).append(run)
        return [
            Problem(place, f"left out: {folds_text([r.fold for r in runs])} of other records ({difference})")
            for (place, difference), runs in found.items()
        ]

    def group(self, expected: Expected) -> ComparableRows | None:
        """The group that an experiment's row is of."""
        model, _, data = expected.names
        named = [g for g in self.groups if (g.model, g.data) == (model, data)]
        return next((g for g in named if g.fixed == expected.fixed), None)

    def alike(self, expected: Expected, variant: Mapping[str, Any]) -> list[SelectedRow]:
        """The rows of an experiment's backbone, method and data with the same values of the method's own, by folds:
        they differ in recipe, evaluation or what the data mix is at most."""
        named = [row for row in self.rows if (row.model, row.method, row.data) == expected.names]
        same = [r for r in named if not settings.apart(settings.of_method(r.variant), settings.of_method(variant))]
        return sorted(same, key=lambda row: (-len(row.folds), row.label))

    def told_of(self, names: tuple[str, str, str]) -> str | None:
        """Why runs of these names were left out of their row; None where none were."""
        place = " x ".join(names)
        return "; ".join(problem.reason for problem in self.problems if problem.place == place) or None

    def filled(self, row: SelectedRow | None, expected: Expected, variant: Mapping[str, Any]) -> SelectedRow | None:
        """A row with its missing folds from runs of another recipe, evaluation, data or split, which it says; never
        from another method, another value of the method's own, or another version of the results."""
        own = row.runs if row else ()
        candidates = [run for r in self.alike(expected, variant) if r is not row for run in r.runs]
        candidates += [run for run, _ in self.left_out if run.names == expected.names]
        chosen = {run.fold: run for run in reversed(candidates) if run.fold not in {r.fold for r in own}}
        if not chosen:
            return row
        texts = "; ".join(f"fold {fold} with {elsewhere(run, expected)}" for fold, run in sorted(chosen.items()))
        model, method, data = expected.names
        runs = tuple(sorted((*own, *chosen.values()), key=lambda run: (run.fold, run.seed)))
        return SelectedRow(
            model=model, method=method, data=data, variant=variant, runs=runs, frame=self.frame, mixed=texts
        )


def elsewhere(run: FinishedRun, expected: Expected) -> str:
    """How a run differs from what an experiment asks for."""
    own = settings.values(run.record.config)
    of_both = {key: value for key, value in expected.values.items() if key in own}  # of a field that there was already
    keys = [key for key in settings.differing(own, of_both) if not key.startswith("model.source")]
    found = {key: own.get(key) for key in keys if key not in settings.ASIDE}
    return settings.shown(found) or f"data content {run.content[:8]}, split {run.split[:8]}"


def select(frame: Frame, experiments: Experiments) -> Selection:
    """Every group of a frame's runs, and its rows."""
    alike: dict[tuple[str, str, str], list[FinishedRun]] = {}
    for run in frame.runs:
        model, _, data = run.names
        alike.setdefault((model, data, run.fixed), []).append(run)
    groups, left_out = [], list[tuple[FinishedRun, str]]()
    for (model, data, fixed), runs in sorted(alike.items(), key=lambda item: item[0]):
        kept, others = _read_alike(runs)
        left_out += others
        asked = experiments.asked((model, data), fixed)
        rows = tuple(_rows(kept if asked else _apart(kept), frame, asked))
        groups.append(ComparableRows(model=model, data=data, fixed=fixed, rows=rows, is_asked_for=bool(asked)))
    return Selection(frame, tuple(groups), tuple(left_out))


def _read_alike(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[tuple[FinishedRun, str]]]:
    """The runs of the data, the weights and in every fold the split that most of them have; and the others."""
    kept, left_out = list(runs), list[tuple[FinishedRun, str]]()
    ways: tuple[tuple[str, Callable[[FinishedRun], str]], ...] = (
        ("data content", lambda run: run.content),
        ("weights", lambda run: run.weights),
    )
    for name, value in ways:
        kept, others = _most(kept, name, value)
        left_out += others
    by_fold = [[run for run in kept if run.fold == fold] for fold in sorted({run.fold for run in kept})]
    parts = [_most(of_fold, f"split of fold {of_fold[0].fold}", lambda run: run.split) for of_fold in by_fold]
    return [run for part, _ in parts for run in part], [*left_out, *(pair for _, others in parts for pair in others)]


def _most(
    runs: Sequence[FinishedRun], name: str, value: Callable[[FinishedRun], str]
) -> tuple[list[FinishedRun], list[tuple[FinishedRun, str]]]:
    """The runs that share the commonest value (of equally common ones the first run's), and how the others differ."""
    counts = Counter(map(value, runs))
    usual = max(counts, key=lambda v: counts[v], default="")  # in the order of runs
    others = [(run, f"{name} {value(run)[:8]}, most runs' is {usual[:8]}") for run in runs if value(run) != usual]
    return [run for run in runs if value(run) == usual], others


def _apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs without the values of the recipe that all of them set otherwise than its YAML file: where no experiment
    says what the recipe is, those set none of them apart."""
    first = runs[0].variant if runs else {}
    own = {key: value for key, value in first.items() if key.startswith("recipe.")}
    shared = {k for k, v in own.items() if all(k in run.variant and settings.same(run.variant[k], v) for run in runs)}
    return [replace(run, variant={k: v for k, v in run.variant.items() if k not in shared}) for run in runs]


def _rows(runs: Iterable[FinishedRun], frame: Frame, asked: Container[tuple[int, int]]) -> list[SelectedRow]:
    alike: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        alike.setdefault((run.names[1], settings.shown(run.variant)), []).append(run)
    found = []
    for (method, _), members in sorted(alike.items()):
        model, _, data = members[0].names
        chosen, further = _repetitions(_once(members), asked)
        dropped = [run for run in members if run not in chosen and run not in further]
        found.append(
            SelectedRow(
                model=model, method=method, data=data, variant=members[0].variant, runs=tuple(chosen),
                further=(*further, *dropped), frame=frame,
            )
        )  # fmt: skip
    return found


def _once(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """One run of each fold and seed: of several, which differ in what decides no score, that which is set aside like
    most of the row's runs, then the first by id."""
    usual = Counter(run.aside for run in runs)
    chosen: dict[tuple[int, int], FinishedRun] = {}
    for run in sorted(runs, key=lambda run: (-usual[run.aside], run.id)):
        chosen.setdefault((run.fold, run.seed), run)
    return sorted(chosen.values(), key=lambda run: (run.fold, run.seed))


def _repetitions(
    runs: Sequence[FinishedRun], asked: Container[tuple[int, int]]
) -> tuple[list[FinishedRun], list[FinishedRun]]:
    """The runs whose seeds count, and the others: a mean over folds weighs none by its repetitions, and no seed that
    was run for one fold alone fills a gap.

    Those that are asked for count, and of each fold as many further ones as all these folds have; where none is asked
    for, as many of each fold as most folds have, first those seeds that most folds have, then the lowest.
    """
    common = Counter(run.seed for run in runs)
    by_fold: dict[int, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.fold, -common[run.seed], run.seed)):
        by_fold.setdefault(run.fold, []).append(run)
    own = {fold: [r for r in of if (r.fold, r.seed) in asked] for fold, of in by_fold.items()}
    own = {fold: of for fold, of in own.items() if of}
    if own:
        further = {fold: [run for run in by_fold[fold] if run not in own[fold]] for fold in own}
        fewest = min(map(len, further.values()))
        kept = [run for fold in own for run in (*own[fold], *further[fold][:fewest])]
    else:
        numbers = Counter(map(len, by_fold.values()))
        usual = min(numbers, key=lambda n: (-numbers[n], n))
        kept = [run for of_fold in by_fold.values() for run in of_fold[:usual]]
    chosen = sorted(kept, key=lambda run: (run.fold, run.seed))
    return chosen, [run for run in runs if run not in chosen]


def over_seeds(rows: Iterable[SelectedRow]) -> list[SelectedRow]:
    """For every row the runs of one fold over several seeds: of the fold that has most of them in all rows; in their
    place as if seeds were folds, rows with one seed are left out."""
    members = [[*row.runs, *row.further] for row in rows]
    folds = Counter(run.fold for runs in members for run in runs)
    fold = min(folds, key=lambda fold: (-folds[fold], fold), default=0)
    found = []
    for row, runs in zip(rows, members, strict=True):
        of_fold = [run for run in _once(runs) if run.fold == fold]
        if len(of_fold) > 1:
            found.append(replace(row, runs=tuple(of_fold), further=()))
    return found


def row_cells(selection: Selection, experiments: Experiments) -> Callable[[Expected], set[tuple[int, int]]]:
    """The cells of an experiment's row, by fold and seed, that have a record, whether or not they may stand in it."""
    found: dict[tuple[str, str, str], set[tuple[int, int]]] = {}
    for run in selection.frame.runs:
        key = (run.fixed, run.names[1], settings.shown(run.variant))
        found.setdefault(key, set()).add((run.fold, run.seed))
    names = {run.names for run in selection.frame.runs}

    def cells(expected: Expected) -> set[tuple[int, int]]:
        if expected.names not in names:
            return set()
        variant = settings.shown(experiments.variant(expected))
        return found.get((expected.fixed, expected.names[1], variant), set())

    return cells
