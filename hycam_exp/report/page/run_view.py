"""One run as the page's script shows it: config, scores, curves, cost, environment, routing and samples, packed."""

from dataclasses import asdict
from typing import Any

from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.page.packing import Pool, rounded
from hycam_exp.report.page.sample_texts import Rows

MOST_POINTS = 150
_REPEATED = ("counts", "data", "code", "versions")


def run_view(run: FinishedRun, samples: dict[str, Rows], pool: Pool) -> dict[str, Any]:
    """The run's values; a whole number in the place of a section is that value's number in the pool."""
    record, whole = run.record, asdict(run.record)
    return {
        "id": record.run_id,
        "config": {key: pool.number(value) for key, value in record.config.items()},
        "scored": pool.number([[score.task, score.metric, score.n] for score in record.scores]),
        "scores": rounded([score.value for score in record.scores]),
        "metrics": pool.number(whole["metrics"]),
        "curves": {name: _curve(points) for name, points in whole["curves"].items()},
        "fit": rounded(whole["fit"]),
        "routing": rounded(whole["routing"], 3),
        "cost": rounded(whole["cost"]),
        "notes": record.notes,
        "results_version": record.results_version,
        "samples": {task: [_sample(row, pool) for row in rows] for task, rows in samples.items()},
    } | {part: pool.number(whole[part]) for part in _REPEATED}


def _curve(points: list[dict[str, float]]) -> dict[str, Any]:
    """The columns of a curve, thinned to every k-th point and the last."""
    every = max(1, -(-len(points) // MOST_POINTS))
    kept = points[::every]
    if points and (len(points) - 1) % every:
        kept = [*kept, points[-1]]
    names = dict.fromkeys(name for point in kept for name in point)
    return {
        "points": len(points),
        "every": every,
        "columns": {name: rounded([point.get(name) for point in kept], 5) for name in names},
    }


def _sample(row: dict[str, Any], pool: Pool) -> list[Any]:
    """Number of (id, reference) in the pool, prediction, PPL, ROUGE-L, whether it reached its limit of new tokens."""
    shared = pool.number([row["id"], row["reference"]])
    return [shared, row["prediction"], *rounded([row["ppl"], row["rouge_l"]], 4), row["capped"]]
