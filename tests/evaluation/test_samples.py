"""The samples file: from it alone every statistic of a report comes out again."""

import io
import math

import pyarrow.parquet as pq
import pytest

from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation import overlap, perplexity
from hycam_exp.evaluation.generation import Prediction
from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.evaluation.overlap import Overlap
from hycam_exp.evaluation.perplexity import SampleNats
from hycam_exp.evaluation.samples import TEXTS_PER_TASK, samples_file


def row(task: str, number: int) -> Tokens:
    return Tokens(
        id=f"{number:02}", task=task, group=f"group {number // 2}", reference=f"the answer {number} is é世",
        input_ids=[1, 3, 2], prompt_length=1, response_bytes=1, ends=True,
    )  # fmt: skip


def nats(of: Tokens, scale: float) -> SampleNats:
    value = scale * (1 + int(of.id)) / 3
    return SampleNats(
        id=of.id, task=of.task, nats=value, tokens=5, text_nats=value / 2, text_tokens=4, text_bytes=11, all_nats=value,
        all_tokens=9,
    )  # fmt: skip


# Not in the file's order, and one task with more samples than texts are kept of.
ROWS = [row("web_gpt", n) for n in (2, 0, 1)] + [row("dolly", n) for n in reversed(range(TEXTS_PER_TASK + 3))]
ORDER = sorted(ROWS, key=lambda r: (r.task, r.id))


def measured(scale: float, decoded: bool) -> Measurement:
    told = [
        Prediction(id=r.id, task=r.task, text=f"the answer {r.id} is\né", tokens=4, capped=int(r.id) % 2 == 0)
        for r in ROWS
    ]
    return Measurement(
        rows=ROWS, nats=[nats(r, scale) for r in ROWS], retention=[], predictions=told if decoded else []
    )


def table(decoded: bool = True) -> list[dict]:
    return pq.read_table(io.BytesIO(samples_file(measured(2.0, False), measured(1.0, decoded)))).to_pylist()


def test_rows_are_in_order_of_task_and_id() -> None:
    """Each test sample is one row with its task, id and group."""
    found = [(r["task"], r["id"], r["group"]) for r in table()]
    assert found == [(r.task, r.id, r.group) for r in ORDER]


def test_nats_are_those_of_both_states() -> None:
    """Sums before and after adaptation stand beside each other, exactly as they were measured."""
    for found, of in zip(table(), ORDER, strict=True):
        before, after = nats(of, 2.0), nats(of, 1.0)
        assert (found["nats_before"], found["nats"], found["tokens"]) == (before.nats, after.nats, 5)
        assert (found["text_nats"], found["text_bytes"]) == (after.text_nats, 11)


@pytest.mark.parametrize("task", ["dolly", "web_gpt", "pooled"])
def test_scores_come_out_of_the_file_again(task: str) -> None:
    """PPL, bits per byte, BLEU, ROUGE-L and the share at the cap of a record are those of its samples file."""
    rows = [r for r in table() if task in ("pooled", r["task"])]
    scores = {s.metric: s.value for s in measured(1.0, True).scores() if s.task == task}
    again = [
        Overlap(
            id=r["id"], task=r["task"], correct=[r[f"bleu_correct_{n}"] for n in range(1, 5)],
            total=[r[f"bleu_total_{n}"] for n in range(1, 5)], prediction_length=r["prediction_length"],
            reference_length=r["reference_length"], rouge_l=r["rouge_l"],
            rouge_l_unicode=r["rouge_l_unicode"],
        )
        for r in rows
    ]  # fmt: skip
    text_nats, num_bytes = sum(r["text_nats"] for r in rows), sum(r["text_bytes"] for r in rows)
    assert scores["ppl"] == perplexity.perplexity(math.fsum(r["nats"] for r in rows), sum(r["tokens"] for r in rows))
    assert scores["bits_per_byte"] == pytest.approx(text_nats / math.log(2) / num_bytes)
    pooled = {s.metric: s.value for s in overlap.scores(again) if s.task == "pooled"}
    assert pooled == {metric: scores[metric] for metric in ("bleu4", "rouge_l", "rouge_l_unicode")}
    assert scores["cap_share"] == sum(r["capped"] for r in rows) / len(rows)


def test_texts_of_the_first_twenty_of_each_task_are_kept() -> None:
    """Prediction and reference stand in the first rows of each task, and are null in the others."""
    for task in ("dolly", "web_gpt"):
        found = [r for r in table() if r["task"] == task]
        rows = [r for r in ORDER if r.task == task]
        shown = [(f"the answer {r.id} is\né", r.reference) for r in rows[:TEXTS_PER_TASK]]
        hidden = [(None, None)] * (len(rows) - len(shown))
        assert [(r["prediction"], r["reference"]) for r in found] == shown + hidden


def test_without_decoding_there_are_no_columns_of_it() -> None:
    """A run that was not decoded has perplexity columns only, not zeros."""
    names = ["task", "id", "group", "nats_before", "nats", "tokens", "text_nats", "text_bytes"]
    assert [list(r) for r in table(decoded=False)] == [names] * len(ROWS)


def test_the_same_measurement_is_the_same_file() -> None:
    """The file's bytes do not depend on the order in which the rows were measured."""
    before, after = measured(2.0, False), measured(1.0, True)
    turned = Measurement(rows=ROWS[::-1], nats=after.nats[::-1], retention=[], predictions=after.predictions[::-1])
    turned_before = Measurement(rows=ROWS[::-1], nats=before.nats[::-1], retention=[])
    assert samples_file(turned_before, turned) == samples_file(before, after)
