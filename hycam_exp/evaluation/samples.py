"""The samples file beside a record: every test sample's sufficient statistics, and the texts of some.

From it every statistic of a report is computed, resampling included.
"""

import io
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation.generation import Prediction
from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.evaluation.overlap import ORDERS, Overlap
from hycam_exp.evaluation.perplexity import SampleNats

TEXTS_PER_TASK = 20
_PARTS = ("correct", "total")


def samples_file(before: Measurement, after: Measurement) -> bytes:
    """A Parquet table with a row for each test sample, in order of task and id; texts for the first of each task."""
    order = sorted(range(len(after.rows)), key=lambda i: (after.rows[i].task, after.rows[i].id))
    shown: Counter[str] = Counter()
    table = []
    for i in order:
        row = after.rows[i]
        entry = _perplexity(row, before.nats[i], after.nats[i])
        if after.predictions:
            texts = shown[row.task] < TEXTS_PER_TASK
            shown[row.task] += 1
            entry |= _overlap(after.overlaps[i]) | _texts(row, after.predictions[i], texts)
        table.append(entry)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), sink, compression="zstd")
    return sink.getvalue()


def _perplexity(row: Tokens, before: SampleNats, after: SampleNats) -> dict[str, Any]:
    return {
        "task": row.task,
        "id": row.id,
        "group": row.group,
        "nats_before": before.nats,
        "nats": after.nats,
        "tokens": after.tokens,
        "text_nats": after.text_nats,
        "text_bytes": after.text_bytes,
    }


def _texts(row: Tokens, prediction: Prediction, texts: bool) -> dict[str, Any]:
    kept = (prediction.text, row.reference) if texts else (None, None)
    return {"capped": prediction.capped, "prediction": kept[0], "reference": kept[1]}


def _overlap(overlap: Overlap) -> dict[str, Any]:
    counts = {f"bleu_{part}_{n + 1}": getattr(overlap, part)[n] for part in _PARTS for n in range(ORDERS)}
    lengths = {"prediction_length": overlap.prediction_length, "reference_length": overlap.reference_length}
    rouge = {"rouge_l": overlap.rouge_l, "rouge_l_unicode": overlap.rouge_l_unicode}
    return {**counts, **lengths, **rouge, **overlap.further}
