"""`python -m hycam_exp.report [--results DIR]`: what the run records say, as a table of means over folds."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hycam_exp.config import NUM_FOLDS
from hycam_exp.report.records import read
from hycam_exp.report.summary import Summary, summarise

COLUMNS = (("PPL", "ppl", "mean", 3), ("BLEU-4", "bleu4", "mean", 3), ("ROUGE-L", "rouge_l", "mean", 3))


def _cell(summary: Summary, metric: str, task: str, digits: int) -> str:
    """Mean and sample standard deviation over folds; a dash where a fold has no such score."""
    mean, spread = summary.mean(metric, task), summary.spread(metric, task)
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} +- {spread:.{digits}f}"


def _row(summary: Summary) -> list[str]:
    label = f"{summary.method} ({summary.variant})" if summary.variant else summary.method
    change = summary.mean("ppl_change", "retention")
    folds = f"{len(summary.folds)}/{NUM_FOLDS}"
    trained = summary.records[0].counts["parameters_trainable"]
    scores = [_cell(summary, metric, task, digits) for _, metric, task, digits in COLUMNS]
    return [label, folds, *scores, "-" if change is None else f"{change:+.1%}", f"{trained:,}"]


def table(summaries: list[Summary], title: str) -> Table:
    """A row for each setting, mean +- standard deviation over its folds."""
    found = Table(title=title, title_justify="left")
    found.add_column("method")
    for name in ("folds", *(name for name, *_ in COLUMNS), "general text", "trained parameters"):
        found.add_column(name, justify="right")
    for summary in summaries:
        found.add_row(*_row(summary))
    return found


def main() -> None:
    """Print a table for each backbone and data mix."""
    parser = argparse.ArgumentParser(prog="python -m hycam_exp.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    collection = read(arguments.results)
    for problem in collection.problems:
        print(f"error: {problem}", file=sys.stderr)
    summaries = [s for s in summarise(collection.records) if s.mean("ppl") is not None]
    if not summaries:
        sys.exit(f"error: {arguments.results / 'runs'}: no record with scores there")
    console = Console(markup=False, highlight=False)
    for model, data in sorted({(s.model, s.data) for s in summaries}):
        of_group = [s for s in summaries if (s.model, s.data) == (model, data)]
        console.print(table(of_group, f"{model} x {data}, mean +- standard deviation over folds"))
        if len(set().union(*(s.code for s in of_group))) > 1:
            console.print("note: the records were not all made by the same code")
    sys.exit(1 if collection.problems else 0)


if __name__ == "__main__":
    main()
