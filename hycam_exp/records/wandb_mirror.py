"""Weights & Biases as a mirror of the record: its scores and a table of predictions. The record is the truth."""

from collections.abc import Sequence
from typing import Any

from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.records.record import RunRecord

COLUMNS = ["task", "id", "prediction", "reference", "tokens"]
ROWS_PER_TASK = 20


def publish(loggers: Sequence[Any], record: RunRecord, after: Measurement) -> None:
    """Hand the scores and the predictions to every logger that keeps tables, and close it."""
    for logger in loggers:
        if not hasattr(logger, "log_table"):
            continue
        scores = {f"{s.metric}/{s.task}": s.value for s in record.scores if s.value is not None}
        logger.experiment.summary.update(scores)
        if after.predictions:
            logger.log_table("predictions", columns=COLUMNS, data=_rows(after))
        logger.experiment.finish()


def _rows(after: Measurement) -> list[list[Any]]:
    rows: dict[str, list[list[Any]]] = {}
    for row, prediction in zip(after.rows, after.predictions, strict=True):
        rows.setdefault(row.task, []).append([row.task, row.id, prediction.text, row.reference, prediction.tokens])
    return [row for task in sorted(rows) for row in sorted(rows[task])[:ROWS_PER_TASK]]
