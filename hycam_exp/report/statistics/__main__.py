"""`python -m hycam_exp.report statistics [--json]`: HyCAM against other PEFT settings, tested in every way there is.

HyCAM is as the paper sets it, and its own other values are no rivals. A line for each setting and score: the mean
difference over folds with its t interval, the paired p, that of the corrected resampled test and after Holm over all
lines of a mix, the effect with its interval, and the bootstrap's over test samples by group. See docs/statistics.md.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hycam_exp import terminal
from hycam_exp.command_line import Parser, as_errors
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report.baselines import is_peft
from hycam_exp.report.claims.evidence import declared_settings, papers_setting
from hycam_exp.report.claims.scoreboard import OURS
from hycam_exp.report.frame import read
from hycam_exp.report.ground import by_mix
from hycam_exp.report.select import Summary, summarise
from hycam_exp.report.statistics.bootstrap import RESAMPLES, Resampled, resample_settings
from hycam_exp.report.statistics.significance import Comparison, compare, with_holm

HEADINGS = ("mean", "95% (t)", "p", "corrected", "Holm", "effect, 95%", "bootstrap")


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
    declared = declared_settings()
    for mix, members in by_mix(summaries).items():
        whole = [s for s in members if s.is_complete and is_peft(s.method)]
        ours = papers_setting([s for s in whole if s.method == OURS], declared)
        others = [s for s in whole if s.method != OURS]
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
    if not found:
        reason = "no mix has HyCAM, as the paper sets it, with all folds and another PEFT setting with all folds"
        refused = [as_errors(problem) for problem in collection.problems]
        sys.exit("\n".join([*refused, as_errors(f"--results={chosen.results}: {reason}")]))
    if chosen.json:
        print(json.dumps([asdict(line) for line in found], indent=1))
    else:
        _print(found)
    for problem in collection.problems:
        print(as_errors(problem), file=sys.stderr)
    return 1 if collection.problems else 0


def _print(found: Sequence[Line]) -> None:
    console = Console(markup=False, highlight=False)
    for mix in dict.fromkeys(line.mix for line in found):
        members = [line for line in found if line.mix == mix]
        terminal.show(console, _table(mix, members), _narrow(mix, members))


def _title(mix: str) -> str:
    return f"{mix}: HyCAM minus the other, mean over folds; bootstrap: 95% over test samples by group"


def _table(mix: str, members: Sequence[Line]) -> Table:
    """A line for each setting and score."""
    table = Table(title=_title(mix), title_justify="left")
    table.add_column("other")
    terminal.numbers(table, "score", *HEADINGS)
    for line in members:
        table.add_row(*_row(line))
    return table


def _narrow(mix: str, members: Sequence[Line]) -> Table:
    """The same in 80 columns: a score stands under its setting, and an interval's ends under each other."""
    table = Table(title=_title(mix), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("other")
    terminal.numbers(table, *(heading.replace(" ", "\n").replace("tst", "t-\nst") for heading in HEADINGS))
    for line in members:
        other, score, *numbers = _row(line)
        name = other.replace(" (", "\n(")
        table.add_row(f"{name}\n{score}", *(number.replace(", ", "\n").replace(" to ", "\n") for number in numbers))
    return table


def _row(line: Line) -> list[str]:
    c = line.comparison
    return [
        str(c.baseline), c.metric, _number(c.difference), _interval(c.interval), _number(c.p),
        _number(c.p_corrected_resampled), _number(c.p_corrected_holm), _effect(c),
        _interval(line.bootstrap.interval if line.bootstrap else None),
    ]  # fmt: skip


def _effect(comparison: Comparison) -> str:
    """With its 95% interval."""
    bounds = comparison.effect_interval
    return _number(comparison.effect, ".1f") + (f", {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "")


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
