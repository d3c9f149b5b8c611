"""`python -m hycam_exp.report statistics [--json]`: HyCAM against every other setting, tested in every way there is.

A line for each setting and score: the mean difference over folds with its t interval, the paired p, that of the
corrected resampled test and after Holm over all lines of a mix, the standardised effect, and the bootstrap interval
over test samples by group. See docs/statistics.md.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hycam_exp.command_line import Parser, as_errors
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report.baselines import is_peft
from hycam_exp.report.bootstrap import RESAMPLES, Resampled, resample_settings
from hycam_exp.report.ground import by_mix
from hycam_exp.report.records import read
from hycam_exp.report.scoreboard import OURS
from hycam_exp.report.statistics import Comparison, compare, with_holm
from hycam_exp.report.summary import Summary, summarise

HEADINGS = (
    "other", "score", "difference", "95% (t)", "p", "corrected p", "after Holm", "effect", "95% (bootstrap)",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """HyCAM against one other setting in one score, the mean over tasks."""

    mix: str
    comparison: Comparison
    bootstrap: Resampled | None
    """None where a score was not measured."""


def lines(summaries: Sequence[Summary], results: Path, resamples: int) -> Iterator[Line]:
    """The lines of every mix with a HyCAM setting of all folds and another.

    Raises:
        ValueError: a samples file is missing or damaged.
    """
    for mix, members in by_mix(summaries).items():
        whole = [s for s in members if s.is_complete and is_peft(s.method)]
        ours = next((s for s in whole if s.method == OURS), None)
        others = [s for s in whole if s is not ours]
        if ours is None or not others:
            continue
        drawn = resample_settings([ours, *others], results, resamples)
        pairs = [(index, other, metric) for index, other in enumerate(others, start=1) for metric in SCORES]
        tested = with_holm([compare(ours, [other], metric) for _, other, metric in pairs])
        for (index, _, metric), comparison in zip(pairs, tested, strict=True):
            known = comparison.difference is not None
            yield Line(mix, comparison, drawn.compare(0, index, metric) if known else None)


def main(arguments: Sequence[str]) -> int:
    """Print the lines; 1 if a record was left out."""
    parser = Parser(prog="python -m hycam_exp.report statistics", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    collection = read(chosen.results)
    found = list(lines(summarise(collection.records), chosen.results, chosen.resamples))
    if chosen.json:
        print(json.dumps([asdict(line) for line in found], indent=1))
    else:
        _print(found)
    for problem in collection.problems:
        print(as_errors(problem), file=sys.stderr)
    return 1 if collection.problems else 0


def _print(found: Sequence[Line]) -> None:
    console = Console(markup=False, highlight=False, width=160)
    for mix in dict.fromkeys(line.mix for line in found):
        table = Table(title=f"{mix}: HyCAM minus the other, over folds; bootstrap over test samples by group")
        for name in (
            "other",
            "score",
            "difference",
            "95% (t)",
            "p",
            "corrected",
            "after Holm",
            "effect",
            "95% (bootstrap)",
        ):
            table.add_column(name)
        for line in found:
            if line.mix == mix:
                table.add_row(*_row(line))
        console.print(table)


def _row(line: Line) -> list[str]:
    c = line.comparison
    return [
        str(c.baseline), c.metric, _number(c.difference), _interval(c.interval), _number(c.p),
        _number(c.p_corrected_resampled), _number(c.p_corrected_holm), _number(c.effect, ".1f"),
        _interval(line.bootstrap.interval if line.bootstrap else None),
    ]  # fmt: skip


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
