"""Scores of methods by column (a backbone or a task) and metric, published or ours, and who is better in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hycam_exp.evaluation.metrics import declared

OURS = "hycam"


def methods_in(labels: Iterable[str]) -> set[str]:
    """The methods of labels such as `lora (seed=0)`."""
    return {label.split(" (")[0] for label in labels}


@dataclass(frozen=True)
class Scoreboard:
    """`values`: (method, column, metric) -> score. A method in several settings is `method (setting)` in each."""

    values: Mapping[tuple[str, str, str], float]

    @property
    def columns(self) -> list[str]:
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
        """The scores in a column, of all methods or of some in all their settings."""
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

    def place(self, method: str, column: str, metric: str) -> int:
        """1 for the best value, 2 for the next one, ...; equal values share a place."""
        scores = self.scores(column, metric)
        order = sorted(set(scores.values()), reverse=declared(metric).better == "higher")
        return order.index(scores[method]) + 1
