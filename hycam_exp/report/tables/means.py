"""Means over folds as the command prints them: a table for each group of comparable rows."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report import titles
from hycam_exp.report.select import SelectedRow, Selection
from hycam_exp.report.titles import number
from hycam_exp.runtime import terminal

_HEADINGS = ("folds", *SCORES.values(), "general text", "trained parameters")


def means(selection: Selection, console: Console) -> None:
    """Print a table for each group that was tested."""
    for group in selection.groups:
        rows = [row for row in group.rows if row.is_scored]
        if rows:
            title = (
                f"{group.model}{titles.weights(group.weights)} x {group.data}, mean +- standard deviation over folds"
            )
            terminal.show(console, _table(rows, title), _narrow(rows, title))


def _table(rows: Sequence[SelectedRow], title: str) -> Table:
    """A line for each row, mean +- standard deviation over its folds."""
    found = Table(title=title, title_justify="left")
    found.add_column("method")
    terminal.numbers(found, *_HEADINGS)
    for row in rows:
        found.add_row(*_line(row))
    return found


def _narrow(rows: Sequence[SelectedRow], title: str) -> Table:
    """The same in 80 columns: standard deviations stand under their means."""
    found = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    found.add_column("method")
    terminal.numbers(found, *(heading.replace(" ", "\n") for heading in _HEADINGS))
    for row in rows:
        name, *numbers = _line(row)
        found.add_row(name.replace(" (", "\n("), *(text.replace(" +-", "\n+-") for text in numbers))
    return found


def _line(row: SelectedRow) -> list[str]:
    change = number(row.mean("ppl_change", RETENTION), "+.1%")
    scores = [_cell(row, metric) for metric in SCORES]
    return [row.label, f"{len(row.folds)}/{NUM_FOLDS}", *scores, change, f"{row.runs[0].parameters:,}"]


def _cell(row: SelectedRow, metric: str) -> str:
    """Mean and sample standard deviation over folds; a dash where a fold has no such score."""
    mean, spread = row.mean(metric), row.spread(metric)
    return number(mean) if mean is None or spread is None else f"{number(mean)} +- {number(spread)}"
