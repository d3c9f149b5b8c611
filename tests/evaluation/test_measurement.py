"""A measured state: its score rows, and how batched decoding is compared with single."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, tokenise
from hycam_exp.evaluation import measurement, overlap, perplexity
from hycam_exp.evaluation.generation import Decoder, Prediction
from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.evaluation.metrics import Score, declared
from hycam_exp.evaluation.perplexity import SampleNats
from hycam_exp.evaluation.retention import rows as windows_of

PAD = 2


def rows_of(letters: PreTrainedTokenizerFast, task: str, count: int) -> list[Tokens]:
    records = [
        Record(task=task, instruction=f"Say {n}.", input="", output="a b c d", group="", id=f"{task}{n}")
        for n in range(count)
    ]
    return tokenise(records, letters, "alpaca", 400)[0]


@pytest.fixture
def rows(letters: PreTrainedTokenizerFast) -> list[Tokens]:
    return [*rows_of(letters, "web_gpt", 2), *rows_of(letters, "dolly", 3)]


def predictions(rows: list[Tokens], capped: int) -> list[Prediction]:
    """Predictions of which the first `capped` reached their limit."""
    return [
        Prediction(id=row.id, task=row.task, text="a b c d e" if i % 2 else "a b c d", tokens=9, capped=i < capped)
        for i, row in enumerate(rows)
    ]


def test_score_is_perplexity_of_rows_and_windows(
    small_llama: LlamaForCausalLM, letters: PreTrainedTokenizerFast, rows: list[Tokens], tmp_path: Path
) -> None:
    """A state holds the nats of the test rows and of the general text, each in order."""
    (tmp_path / "text.txt").write_text("one two\n\nthree")
    windows = windows_of(tmp_path / "text.txt", letters, 6)
    found = measurement.score(small_llama, rows, windows, 2, PAD, "before")
    assert found == Measurement(
        rows=rows,
        nats=perplexity.score(small_llama, rows, 2, PAD),
        retention=perplexity.score(small_llama, windows, 2, PAD),
    )


@pytest.mark.parametrize("suffix", ["", "_before"])
def test_scores_hold_everything_that_was_measured(
    small_llama: LlamaForCausalLM, letters: PreTrainedTokenizerFast, rows: list[Tokens], suffix: str
) -> None:
    """Perplexities, general text, overlaps, the share at the cap, and the share that differs, once each."""
    measured = Measurement(
        rows=rows,
        nats=perplexity.score(small_llama, rows, 8, PAD),
        retention=perplexity.score(small_llama, rows[:2], 8, PAD),
        predictions=predictions(rows, capped=3),
        differing={"dolly": (1, 2), "web_gpt": (0, 2)},
    )
    overlaps = [overlap.overlap(p.id, p.task, p.text, "a b c d") for p in measured.predictions]
    general = sum(s.nats for s in measured.retention) / sum(s.tokens for s in measured.retention)
    assert measured.scores(suffix) == [
        *perplexity.scores(measured.nats, suffix),
        Score(task="retention", metric=f"ppl{suffix}", value=pytest.approx(math.exp(general)), n=2),
        *overlap.scores(overlaps, suffix),
        Score(task="dolly", metric=f"cap_share{suffix}", value=1 / 3, n=3),
        Score(task="web_gpt", metric=f"cap_share{suffix}", value=1.0, n=2),
        Score(task="pooled", metric=f"cap_share{suffix}", value=3 / 5, n=5),
        Score(task="dolly", metric=f"batch_difference_share{suffix}", value=1 / 2, n=2),
        Score(task="web_gpt", metric=f"batch_difference_share{suffix}", value=0.0, n=2),
    ]


def test_what_was_not_measured_has_no_row(small_llama: LlamaForCausalLM, rows: list[Tokens]) -> None:
    """Without general text and without decoding there are perplexities only."""
    nats = perplexity.score(small_llama, rows, 8, PAD)
    assert Measurement(rows=rows, nats=nats, retention=[]).scores() == perplexity.scores(nats)


def decoder_of(model: Any, letters: PreTrainedTokenizerFast) -> Decoder:
    return Decoder(model=model, tokenizer=letters, max_new_tokens=5, positions=512, pad_id=PAD)


@pytest.mark.parametrize("compare", [0, 1, 2, 9])
def test_generate_compares_so_many_of_each_task(
    small_llama: LlamaForCausalLM, letters: PreTrainedTokenizerFast, rows: list[Tokens], tmp_path: Path, compare: int
) -> None:
    """Every row is decoded in batches, `compare` of each task again one by one; in float64 none differs."""
    measured = Measurement(rows=rows, nats=[], retention=[])
    measurement.generate(measured, decoder_of(small_llama, letters), 4, tmp_path / "after.jsonl", compare, "after")
    assert [p.id for p in measured.predictions] == [row.id for row in rows]
    expected = {"dolly": (0, min(3, compare)), "web_gpt": (0, min(2, compare))} if compare else {}
    assert measured.differing == expected


class FoundOut(Decoder):
    """A decoder that answers otherwise where it decodes the row `dolly1` alone."""

    def decode(self, rows: Any) -> list[Prediction]:
        alone = len(rows) == 1
        return [
            Prediction(id=r.id, task=r.task, text=f"alone {alone and r.id == 'dolly1'}", tokens=1, capped=False)
            for r in rows
        ]


def test_generate_counts_what_differs(letters: PreTrainedTokenizerFast, rows: list[Tokens], tmp_path: Path) -> None:
    """A prediction whose text is another one alone counts for its task, and only there."""
    measured = Measurement(rows=rows, nats=[], retention=[])
    decoder = FoundOut(model=None, tokenizer=letters, max_new_tokens=5, positions=512, pad_id=PAD)
    measurement.generate(measured, decoder, 5, tmp_path / "after.jsonl", 2, "after")
    assert measured.differing == {"dolly": (1, 2), "web_gpt": (0, 2)}
    assert {p.text for p in measured.predictions} == {"alone False"}, "the batched answers are the ones that count"


class Told(Decoder):
    """A decoder that answers with the reference where it may tell the task, and with another text where not."""

    def decode(self, rows: Any) -> list[Prediction]:
        text = "e f g h" if self.withheld else "a b c d"
        return [Prediction(id=r.id, task=r.task, text=text, tokens=4, capped=False) for r in rows]


def test_a_method_that_is_told_the_task_is_decoded_without_it_too(
    letters: PreTrainedTokenizerFast, rows: list[Tokens], tmp_path: Path
) -> None:
    """Both scores stand in the record under names of their own, each from its own answers."""
    sums = SampleNats(id="", task="", nats=1.0, tokens=1, text_nats=1.0, text_tokens=1, text_bytes=1, all_nats=1.0,
                      all_tokens=1)  # fmt: skip
    nats = [replace(sums, id=row.id, task=row.task) for row in rows]
    measured = Measurement(rows=rows, nats=nats, retention=[], withheld=nats)
    decoder = Told(model=None, tokenizer=letters, max_new_tokens=5, positions=512, pad_id=PAD)
    measurement.generate(measured, decoder, 5, tmp_path / "after.jsonl", 0, "after")
    found = {(s.task, s.metric): s.value for s in measured.scores()}
    assert (found["mean", "rouge_l"], found["mean", "rouge_l_withheld"]) == (1, 0)
    assert found["pooled", "bleu4"] > found["pooled", "bleu4_withheld"]
    assert all(declared(metric) for _, metric in found)
    assert {path.name for path in tmp_path.iterdir()} == {"after.jsonl", "after.withheld.jsonl"}
