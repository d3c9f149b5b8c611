"""What our own runs can say of the paper's claims: by data mix, the rows that may be compared, and their scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.evaluation.metrics import declared
from hycam_exp.report import published, settings
from hycam_exp.report.select import OURS, SelectedRow, Selection, is_peft

BASELINES = tuple(method for method in published.METHODS.values() if method != OURS)
"""Of the paper's tables: full fine-tuning, LoRA, Multi-LoRA, RieMoE-LoRA."""
PEFT_BASELINES = tuple(method for method in BASELINES if is_peft(method))

PLAIN_LORA = ("lora", "lora_matched")
ROUTED = tuple(name for name, method in METHODS.items() if method.routed)
"""Mixtures of LoRA modules that a router weighs."""


def methods_in(labels: Iterable[str]) -> set[str]:
    """The methods of labels such as `lora (recipe.clip=null)`."""
    return {label.split(" (")[0] for label in labels}


@dataclass(frozen=True)
class Scoreboard:
    """`values`: (method, column, metric) -> score. A method in several variants is `method (variant)` in each."""

    values: Mapping[tuple[str, str, str], float]

    @property
    def columns(self) -> list[str]:
        """Backbones or tasks."""
        return list(dict.fromkeys(column for _, column, _ in self.values))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, *_ in self.values))

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Every (column, metric) that HyCAM has a score in."""
        return [(column, metric) for method, column, metric in self.values if method == OURS]

    def of_column(self, column: str) -> "Scoreboard":
        """One column alone."""
        return Scoreboard({key: value for key, value in self.values.items() if key[1] == column})

    def scores(self, column: str, metric: str, methods: Iterable[str] | None = None) -> dict[str, float]:
        """The scores in a column, of all methods or of some in all their variants."""
        chosen = None if methods is None else set(methods)
        return {
            method: value
            for (method, of, name), value in self.values.items()
            if (of, name) == (column, metric) and (chosen is None or methods_in([method]) <= chosen)
        }

    def pair(self, column: str, metric: str, baselines: Iterable[str]) -> tuple[float, float] | None:
        """HyCAM's score and that of the best of the baselines; None where one is not known."""
        rivals = self.scores(column, metric, baselines).values()
        ours = self.values.get((OURS, column, metric))
        if ours is None or not rivals:
            return None
        return ours, min(rivals) if declared(metric).better == "lower" else max(rivals)

    def better(self, baselines: Iterable[str]) -> dict[tuple[str, str], bool]:
        """Whether HyCAM is better than the best of the baselines, in every cell where both are known."""
        methods = list(baselines)
        pairs = {cell: self.pair(*cell, methods) for cell in self.cells}
        signs = {metric: -1 if declared(metric).better == "lower" else 1 for _, metric in pairs}
        return {cell: signs[cell[1]] * (pair[0] - pair[1]) > 0 for cell, pair in pairs.items() if pair}

    def improvement(self, column: str, metric: str, baselines: Iterable[str], error: float = 0.0) -> float | None:
        """How much HyCAM is better than the best of the baselines, in percent of it; None where one of them is not
        known, or the best is not above 0: of that there is no percentage.

        With `error` all values are moved by it, HyCAM's for the better and the baselines' for the worse.
        """
        pair = self.pair(column, metric, baselines)
        if pair is None:
            return None
        sign = -1 if declared(metric).better == "lower" else 1
        ours, best = pair[0] + sign * error, pair[1] - sign * error
        return 100 * sign * (ours / best - 1) if best > 0 else None

    def improvements(self, baselines: Iterable[str], error: float = 0.0) -> dict[tuple[str, str], float]:
        """The improvement in every cell that has one."""
        methods = list(baselines)
        found = {cell: self.improvement(*cell, methods, error) for cell in self.cells}
        return {cell: value for cell, value in found.items() if value is not None}

    def places(self, method: str, column: str, metric: str) -> tuple[int, int]:
        """The first and the last place that a method can have, 1 for the best: equal values may differ in digits that
        are not shown."""
        scores = self.scores(column, metric)
        sign = -1 if declared(metric).better == "higher" else 1
        own = sign * scores[method]
        return 1 + sum(sign * v < own for v in scores.values()), sum(sign * v <= own for v in scores.values())

    def place(self, method: str, column: str, metric: str) -> int:
        """1 for the best value, 2 for the next one, ...; equal values share a place."""
        scores = self.scores(column, metric)
        order = sorted(set(scores.values()), reverse=declared(metric).better == "higher")
        return order.index(scores[method]) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneEvidence:
    """One backbone on a data mix: HyCAM as its YAML sets it, and what was tested on the same records."""

    model: str
    hycam: SelectedRow
    others: list[SelectedRow]
    """Baselines and ablations with all of HyCAM's folds, each in all its variants."""
    budgets: list[SelectedRow]
    """LoRA and the routed methods with all of HyCAM's folds, at whatever size."""
    figures: Path
    """The folder of figures, with one for each run that has any."""

    def rows(self, methods: Iterable[str]) -> list[SelectedRow]:
        """Those of some methods, HyCAM first if it is among them."""
        chosen = set(methods)
        return [row for row in (self.hycam, *self.others) if row.method in chosen]

    def values(self, methods: Iterable[str], value: Callable[[SelectedRow], float | None]) -> dict[str, float]:
        """A number of every row that has it, by its name; HyCAM is `hycam` whatever its variant is called."""
        named = {OURS if row is self.hycam else row.label: value(row) for row in self.rows(methods)}
        return {name: number for name, number in named.items() if number is not None}

    def beside_hycam(self, methods: Sequence[str]) -> dict[str, SelectedRow]:
        """One row of each method that was run: HyCAM's, and of the others the one that is most as its YAML sets it."""
        found: dict[str, SelectedRow] = {}
        for row in sorted(self.rows(methods), key=lambda r: (r is not self.hycam, len(r.variant), r.label)):
            found.setdefault(row.method, row)
        return {method: found[method] for method in methods if method in found}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The runs of one data mix."""

    setting: str
    """What they are, in words: not the paper's setting unless it is that data mix on that backbone."""
    backbones: list[BackboneEvidence]

    def setting_of(self, backbone: BackboneEvidence) -> str:
        """The same of one backbone."""
        return self.setting if len(self.backbones) == 1 else f"{self.setting}; {backbone.model}"

    def scoreboard(self) -> Scoreboard:
        """Scores as means over tasks, a column for each backbone."""
        return Scoreboard(
            {
                (name, backbone.model, metric): value
                for backbone in self.backbones
                for metric in published.SCORES
                for name, value in backbone.values((OURS, *BASELINES), _score(metric, "mean")).items()
            }
        )

    def tasks(self) -> list[Scoreboard]:
        """For each backbone the scores by task."""
        return [
            Scoreboard(
                {
                    (name, task, metric): value
                    for task in sorted({task for run in backbone.hycam.runs for task in run.tasks})
                    for metric in published.SCORES
                    for name, value in backbone.values((OURS, *BASELINES), _score(metric, task)).items()
                }
            )
            for backbone in self.backbones
        ]


def _score(metric: str, task: str) -> Callable[[SelectedRow], float | None]:
    return lambda row: row.mean(metric, task)


def gather(selection: Selection) -> list[Evidence]:
    """The evidence of every data mix that HyCAM was run on."""
    found: dict[str, list[BackboneEvidence]] = {}
    left_out: dict[str, list[str]] = {}
    methods = {*BASELINES, *published.VARIANTS.values()} - {OURS}
    for group in selection.main.values():
        ours = group.ours
        if ours is None:
            continue
        rivals = [row for row in group.rows if row.method in methods and row.is_scored]
        complete = [row for row in rivals if row.folds == ours.folds]
        figures = selection.frame.source.out / "figures"
        sized = [row for row in group.rows if row.method in (*PLAIN_LORA, *ROUTED) and row.is_scored]
        budgets = [row for row in sized if row.folds == ours.folds]
        found.setdefault(group.data, []).append(
            BackboneEvidence(model=group.model, hycam=ours, others=complete, budgets=budgets, figures=figures)
        )
        incomplete = [f"{row.label} on {group.model}" for row in rivals if row not in complete]
        left_out.setdefault(group.data, []).extend(incomplete)
    return [
        Evidence(setting=_setting(data, backbones, left_out[data]), backbones=backbones)
        for data, backbones in sorted(found.items())
    ]


def _setting(data: str, backbones: Sequence[BackboneEvidence], left_out: Sequence[str]) -> str:
    words = [f"the {data} set", ", ".join(b.model for b in backbones)]
    folds = {len(b.hycam.folds) for b in backbones}
    words.append(f"{'/'.join(map(str, sorted(folds)))} of {NUM_FOLDS} folds")
    words += [f"HyCAM as {settings.shown(b.hycam.variant)}" for b in backbones if b.hycam.variant]
    words += [f"left out for missing folds: {', '.join(left_out)}"] if left_out else []
    return "; ".join(words)
