"""Predictions and references of a run from its samples file, as many as a page of readable size can hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.runs import Store

LONGEST_TEXT = 1_500
MOST_CHARACTERS = 12_000_000  # of predictions, over all runs: some 6 MB of the page
_COLUMNS = ["task", "id", "prediction", "reference", "nats", "tokens", "rouge_l", "capped"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SampleTexts:
    """Every run's samples that have texts, by run and task; the same number of each task at most."""

    runs: dict[str, dict[str, Rows]]
    per_task: int
    found_per_task: int
    """The most texts of one task that a samples file holds."""


def read(results: Path, run_ids: Sequence[str]) -> SampleTexts:
    """The samples of these runs; a run whose file is not there or has no texts has none."""
    found = {run_id: _read(Store(results, results).samples_path(run_id)) for run_id in run_ids}
    held = max((len(rows) for tasks in found.values() for rows in tasks.values()), default=0)
    per_task = _affordable(found, held)
    cut = {run_id: {task: rows[:per_task] for task, rows in tasks.items()} for run_id, tasks in found.items()}
    return SampleTexts(cut, per_task, held)


def _read(path: Path) -> dict[str, Rows]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        return {}
    with pq.ParquetFile(path) as file:
        present = [name for name in _COLUMNS if name in file.schema_arrow.names]
        if "prediction" not in present:
            return {}
        table = file.read(columns=present, use_threads=False)
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
        "ppl": math.exp(min(nats / tokens, 50.0)) if tokens and nats is not None else None,
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
