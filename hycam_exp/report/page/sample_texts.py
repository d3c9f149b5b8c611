"""Predictions and references of a run from its samples file, as many as a page of readable size can hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.evaluation.metrics import perplexity
from hycam_exp.report.frame import Problem
from hycam_exp.report.samples import read_table
from hycam_exp.report.sources import RecordSource

LONGEST_TEXT = 1_500
MOST_CHARACTERS = 12_000_000  # of predictions, over all runs: some 6 MB of the page
_COLUMNS = ["prediction", "reference", "nats", "tokens", "rouge_l", "capped"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SampleTexts:
    """Every run's samples that have texts, by run and task; the same number of each task at most."""

    runs: dict[str, dict[str, Rows]]
    per_task: int
    found_per_task: int
    """The most texts of one task that a samples file holds."""
    problems: tuple[Problem, ...] = ()
    """The samples files that cannot be read."""


def read(source: RecordSource, run_ids: Sequence[str]) -> SampleTexts:
    """The samples of these runs; a run whose file is not there, is damaged (a problem) or has no texts has none."""
    found: dict[str, dict[str, Rows]] = {}
    problems = []
    for run_id in run_ids:
        path = source.samples(run_id)
        try:
            found[run_id] = _read(path)
        except ValueError as error:
            found[run_id] = {}
            problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
    held = max((len(rows) for tasks in found.values() for rows in tasks.values()), default=0)
    per_task = _affordable(found, held)
    cut = {run_id: {task: rows[:per_task] for task, rows in tasks.items()} for run_id, tasks in found.items()}
    return SampleTexts(cut, per_task, held, tuple(problems))


def _read(path: Path) -> dict[str, Rows]:
    import pyarrow.compute as pc

    if not path.is_file():
        return {}
    table = read_table(path, ("task", "id"), _COLUMNS)
    if "prediction" not in table.column_names:
        return {}
    tasks: dict[str, Rows] = {}
    for row in table.filter(pc.is_valid(table["prediction"])).to_pylist():
        tasks.setdefault(row["task"], []).append(_sample(row))
    return tasks


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    nats, tokens = row.get("nats"), row.get("tokens")
    return {
        "id": row["id"],
        "reference": _shortened(row.get("reference") or ""),
        "prediction": _shortened(row["prediction"]),
        "ppl": perplexity(nats, tokens) if tokens and nats is not None else None,
        "rouge_l": row.get("rouge_l"),
        "capped": row.get("capped"),
    }


def _shortened(text: str) -> str:
    left_out = len(text) - LONGEST_TEXT
    return text if left_out <= 0 else f"{text[:LONGEST_TEXT]} [{left_out:,} characters more in the samples file]"


def _affordable(found: dict[str, dict[str, Rows]], held: int) -> int:
    """The most samples of a task of which all runs' predictions stay under `MOST_CHARACTERS`; one at least."""
    sizes = [0] * held
    for tasks in found.values():
        for rows in tasks.values():
            for place, row in enumerate(rows):
                sizes[place] += len(row["prediction"])
    total = 0
    for place, size in enumerate(sizes):
        total += size
        if total > MOST_CHARACTERS:
            return max(1, place)
    return held
