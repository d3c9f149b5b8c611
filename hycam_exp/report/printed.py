"""Means over folds as the command prints them: a table for each backbone and data mix."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from hycam_exp.config import NUM_FOLDS
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report.summary import Summary

COLUMNS = tuple((name, metric, "mean", 3) for metric, name in SCORES.items())


def means(summaries: Sequence[Summary]) -> Iterator[tuple[Table, str | None]]:
    """A table for each backbone and data mix, and a note where the records were not all made by the same code."""
    for model, data in sorted({(s.model, s.data) for s in summaries}):
        of_group = [s for s in summaries if (s.model, s.data) == (model, data)]
        mixed = len(set().union(*(s.code for s in of_group))) > 1
        note = "note: the records were not all made by the same code" if mixed else None
        yield table(of_group, f"{model} x {data}, mean +- standard deviation over folds"), note


def table(summaries: Sequence[Summary], title: str) -> Table:
    """A row for each setting, mean +- standard deviation over its folds."""
    found = Table(title=title, title_justify="left")
    found.add_column("method")
    for name in ("folds", *(name for name, *_ in COLUMNS), "general text", "trained parameters"):
        found.add_column(name, justify="right")
    for summary in summaries:
        found.add_row(*_row(summary))
    return found


def _row(summary: Summary) -> list[str]:
    change = summary.mean("ppl_change", "retention")
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
