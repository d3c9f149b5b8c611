"""`python -m hycam_exp.report statistics [--json]`: HyCAM against every other PEFT row, tested in every way there is.

HyCAM is as its YAML sets it, and its other values in a sweep are no rivals. A line for each row and score: the mean
difference over folds with its corrected 95% interval, d_z with its interval, the paired p, that of the corrected
resampled test and after Holm over all lines of a mix, and the bootstrap's interval over test samples by group. Rows
that lack a fold are named. See docs/statistics.md.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report.cache import held_in
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.frame import read
from hycam_exp.report.select import OURS, ComparableRows, is_peft, select
from hycam_exp.report.sources import RecordSource, chosen_sources
from hycam_exp.report.statistics.bootstrap import RESAMPLES, Resampled, resample_rows
from hycam_exp.report.statistics.significance import Comparison, compare, lacks, with_holm
from hycam_exp.report.titles import interval, number, p_value
from hycam_exp.runtime import terminal
from hycam_exp.runtime.command_line import Parser, as_errors

HEADINGS = ("mean", "95%", "d_z, 95%", "p", "corrected", "Holm", "bootstrap")

_HYPHENS = {"corrected": "cor-\nrected", "bootstrap": "boot-\nstrap"}


@dataclass(frozen=True)
class ScoreComparison:
    """HyCAM against one other row in one score, the mean over tasks."""

    mix: str
    comparison: Comparison
    bootstrap: Resampled | None
    """None where a score was not measured."""


def lines(group: ComparableRows, source: RecordSource, resamples: int) -> tuple[list[ScoreComparison], list[str]]:
    """The lines of a group with HyCAM and another PEFT row of all folds, and why others have none.

    Raises:
        ValueError: a samples file is missing or damaged.
    """
    ours = group.ours
    if ours is None:
        return [], []
    rivals = [row for row in group.rows if row.method != OURS and row.is_scored and is_peft(row.method)]
    reasons = {row.label: reason for row in (ours, *rivals) if (reason := lacks(row, "ppl"))}
    whole = [row for row in rivals if row.label not in reasons]
    left_out = [f"{group.name}: {reason}" for reason in reasons.values()]
    if ours.label in reasons or not whole:
        return [], left_out
    drawn = resample_rows([ours, *whole], source, resamples)
    pairs = [(index, row, metric) for index, row in enumerate(whole, start=1) for metric in SCORES]
    tested = with_holm([compare(ours, [row], metric) for _, row, metric in pairs])
    found = [
        ScoreComparison(group.name, c, drawn.compare(0, index, metric) if c.difference is not None else None)
        for (index, _, metric), c in zip(pairs, tested, strict=True)
    ]
    return found, left_out


def main(arguments: Sequence[str]) -> int:
    """Print the lines; 1 if a record was left out."""
    parser = Parser(prog="python -m hycam_exp.report statistics", description=__doc__)
    parser.add_argument("study", nargs="*", help="study=NAME: of results/studies alone; else of all, and of own runs")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where a report keeps what is slow")
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    found: list[ScoreComparison] = []
    problems: list[str] = []
    experiments = Experiments(held_in(chosen.outputs))
    for source in chosen_sources(chosen.results, chosen.study):
        selection = select(read(source, experiments), experiments)
        problems += map(as_errors, [*selection.frame.problems, *selection.problems])
        for group in selection.main.values():
            of_group, left_out = lines(group, source, chosen.resamples)
            if not chosen.json:
                _print(of_group, left_out)
            found += of_group
    if not found:
        reason = "no mix has HyCAM, as the paper sets it, with all folds and another PEFT setting with all folds"
        sys.exit("\n".join([*problems, as_errors(f"--results={chosen.results}: {reason}")]))
    if chosen.json:
        print(json.dumps([asdict(line) for line in found], indent=1))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _print(found: Sequence[ScoreComparison], left_out: Sequence[str]) -> None:
    console = Console(markup=False, highlight=False)
    if found:
        terminal.show(console, _table(found), _narrow(found))
    for reason in left_out:
        console.print(f"not compared: {reason}")


def _title(found: Sequence[ScoreComparison]) -> str:
    return f"{found[0].mix}: HyCAM minus the other, mean over folds; bootstrap: 95% over test samples by group"


def _table(found: Sequence[ScoreComparison]) -> Table:
    """A line for each row and score."""
    table = Table(title=_title(found), title_justify="left")
    table.add_column("other")
    terminal.numbers(table, "score", *HEADINGS)
    for line in found:
        table.add_row(*_row(line))
    return table


def _narrow(found: Sequence[ScoreComparison]) -> Table:
    """The same in 80 columns: a score stands under its row, and an interval's ends under each other."""
    table = Table(title=_title(found), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("other")
    terminal.numbers(table, *(_HYPHENS.get(heading, heading).replace(" ", "\n") for heading in HEADINGS))
    for line in found:
        other, metric, *numbers = _row(line)
        name = other.replace(" (", "\n(")
        table.add_row(f"{name}\n{metric}", *(text.replace(", ", "\n").replace(" to ", "\n") for text in numbers))
    return table


def _row(line: ScoreComparison) -> list[str]:
    c = line.comparison
    d_z = number(c.effect, ".1f") + (f", {interval(c.effect_interval, '.1f')}" if c.effect_interval else "")
    return [
        str(c.baseline), c.metric, number(c.difference, ".4f"), interval(c.interval), d_z, p_value(c.p),
        p_value(c.p_corrected_resampled), p_value(c.p_corrected_holm),
        interval(line.bootstrap.interval if line.bootstrap else None),
    ]  # fmt: skip
