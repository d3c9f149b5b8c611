"""Means over folds as the command prints them: a table for each backbone and data mix."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from hycam_exp import terminal
from hycam_exp.config import NUM_FOLDS
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.select import Summary

COLUMNS = tuple((name, metric, "mean", 3) for metric, name in SCORES.items())
_HEADINGS = ("folds", *(name for name, *_ in COLUMNS), "general text", "trained parameters")


def means(summaries: Sequence[Summary], console: Console) -> None:
    """Print a table for each backbone and data mix, and a note where the records were not all of one version of the results."""
    for of_group, title, note in _groups(summaries):
        terminal.show(console, table(of_group, title), narrow(of_group, title))
        if note:
            console.print(note)


def _groups(summaries: Sequence[Summary]) -> Iterator[tuple[list[Summary], str, str | None]]:
    """The settings of a backbone and data mix, with a title and a note."""
    for model, data in sorted({(s.model, s.data) for s in summaries}):
        of_group = [s for s in summaries if (s.model, s.data) == (model, data)]
        mixed = len(set().union(*(s.versions for s in of_group))) > 1
        note = "note: the records were not all of one version of the results" if mixed else None
        yield of_group, f"{model} x {data}, mean +- standard deviation over folds", note


def table(summaries: Sequence[Summary], title: str) -> Table:
    """A line for each setting, mean +- standard deviation over its folds."""
    found = Table(title=title, title_justify="left")
    found.add_column("method")
    terminal.numbers(found, *_HEADINGS)
    for summary in summaries:
        found.add_row(*_row(summary))
    return found


def narrow(summaries: Sequence[Summary], title: str) -> Table:
    """The same in 80 columns: standard deviations stand under their means."""
    found = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    found.add_column("method")
    terminal.numbers(found, *(heading.replace(" ", "\n") for heading in _HEADINGS))
    for summary in summaries:
        name, *numbers = _row(summary)
        found.add_row(name.replace(" (", "\n("), *(number.replace(" +-", "\n+-") for number in numbers))
    return found


def _row(summary: Summary) -> list[str]:
    change = summary.mean("ppl_change", RETENTION)
    folds = f"{len(summary.folds)}/{NUM_FOLDS}"
    trained = summary.records[0].counts["parameters_trainable"]
    scores = [_cell(summary, metric, task, digits) for _, metric, task, digits in COLUMNS]
    return [summary.label, folds, *scores, "-" if change is None else f"{change:+.1%}", f"{trained:,}"]


def _cell(summary: Summary, metric: str, task: str, digits: int) -> str:
    """Mean and sample standard deviation over folds; a dash where a fold has no such score."""
    mean, spread = summary.mean(metric, task), summary.spread(metric, task)
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} +- {spread:.{digits}f}"
