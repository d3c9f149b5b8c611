"""Perplexity: sums of nats against a slow loop, and every definition against its formula."""

import math
from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from hycam_exp.data.batches import collate
from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation import perplexity
from hycam_exp.evaluation.metrics import Score
from hycam_exp.evaluation.perplexity import SampleNats

PAD = 2


def row(name: str, length: int, prompt_length: int, ends: bool = True, task: str = "dolly") -> Tokens:
    random = Random(name)
    ids = [1, *(random.randrange(3, 100) for _ in range(length - 1))]
    return Tokens(
        id=name, task=task, group="", reference="", input_ids=[*ids[:-1], 2] if ends else ids,
        prompt_length=prompt_length, response_bytes=7 * length, ends=ends,
    )  # fmt: skip


ROWS = [
    row("a", 9, 4), row("b", 30, 1), row("c", 2, 1), row("d", 12, 11), row("e", 17, 5, ends=False),
    row("f", 9, 8, ends=False), row("g", 25, 20, task="web_gpt"),
]  # fmt: skip


def slow_nats(model: LlamaForCausalLM, ids: list[int]) -> list[float]:
    """-log p of each token but the first, one forward pass a token, without batch or padding."""
    found = []
    for position in range(1, len(ids)):
        logits = model(torch.tensor([ids[:position]])).logits[0, -1]
        total = sum(math.exp(v) for v in logits.tolist())
        found.append(math.log(total) - logits[ids[position]].item())
    return found


def close(samples: list[SampleNats], expected: list[SampleNats]) -> None:
    """Equal counts, and nats equal up to rounding in float64."""
    for sample, other in zip(samples, expected, strict=True):
        nats = {name: getattr(other, name) for name in ("nats", "text_nats", "all_nats")}
        assert replace(sample, **nats) == other
        assert {name: getattr(sample, name) for name in nats} == pytest.approx(nats, rel=1e-10)


def test_sums_are_those_of_a_slow_loop(small_llama: LlamaForCausalLM) -> None:
    """Response with EOS, response alone, and everything: each sum is that of its tokens, one by one."""
    expected = []
    for of in ROWS:
        nats = slow_nats(small_llama, of.input_ids)
        response = nats[of.prompt_length - 1 :]
        text = response[:-1] if of.ends else response
        expected.append(
            SampleNats(
                id=of.id, task=of.task, nats=sum(response), tokens=len(of.input_ids) - of.prompt_length,
                text_nats=sum(text), text_tokens=len(text), text_bytes=of.response_bytes,
                all_nats=sum(nats), all_tokens=len(of.input_ids) - 1,
            )
        )  # fmt: skip
    close(perplexity.score(small_llama, ROWS, 3, PAD), expected)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batching_changes_nothing(small_llama: LlamaForCausalLM, batch_size: int, side: str) -> None:
    """Batch size, padding side and the rows' order leave every sample's sums as they are, in the order asked for."""
    expected = {sample.id: sample for sample in perplexity.score(small_llama, ROWS, 1, PAD)}
    shuffled = Random(batch_size).sample(ROWS, len(ROWS))
    close(perplexity.score(small_llama, shuffled, batch_size, PAD, side), [expected[r.id] for r in shuffled])


def test_pad_id_changes_nothing(small_llama: LlamaForCausalLM) -> None:
    """Padding is never scored, whatever id fills it."""
    first, second = (perplexity.score(small_llama, ROWS, 4, pad) for pad in (2, 50))
    close(first, second)


def test_model_is_scored_in_evaluation_mode(small_llama: LlamaForCausalLM) -> None:
    """A model left in training mode is scored without dropout."""
    model = deepcopy(small_llama).train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    assert perplexity.score(model, ROWS, 4, PAD) == perplexity.score(small_llama, ROWS, 4, PAD)


def test_no_rows_give_no_samples(small_llama: LlamaForCausalLM) -> None:
    """Nothing in, nothing out."""
    assert perplexity.score(small_llama, [], 4, PAD) == []


def test_loss_that_is_no_number_is_refused(small_llama: LlamaForCausalLM) -> None:
    """A model that answers NaN is not given a perplexity: the error names the record."""
    model = deepcopy(small_llama)
    with torch.no_grad():
        model.lm_head.weight[5, 0] = math.nan
    with pytest.raises(ValueError, match="the loss of dolly record a is nan"):
        perplexity.score(model, ROWS[:1], 4, PAD)


@pytest.mark.parametrize(("nats", "tokens", "value"), [(0.0, 3, 1.0), (math.log(8), 3, 2.0), (7000.0, 2, None)])
def test_perplexity_is_exp_of_the_mean(nats: float, tokens: int, value: float | None) -> None:
    """exp(nats / tokens), and None where a float cannot hold it."""
    expected = None if value is None else pytest.approx(value, rel=1e-12)
    assert perplexity.perplexity(nats, tokens) == expected


def sample(name: str, task: str, text_nats: float, eos: float, prompt: float, tokens: int) -> SampleNats:
    return SampleNats(
        id=name, task=task, nats=text_nats + eos, tokens=tokens + 1, text_nats=text_nats, text_tokens=tokens,
        text_bytes=3 * tokens, all_nats=text_nats + eos + prompt, all_tokens=tokens + 6,
    )  # fmt: skip


nats = st.floats(0, 50)
samples = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), nats, nats, nats, st.integers(1, 30)), min_size=1, max_size=12
).map(lambda rows: [sample(f"{i:02}", *values) for i, values in enumerate(rows)])


def rate(group: list[SampleNats], nats: str, over: str) -> float:
    return sum(getattr(s, nats) for s in group) / sum(getattr(s, over) for s in group)


DEFINITIONS = {
    "ppl": lambda group: math.exp(rate(group, "nats", "tokens")),
    "ppl_without_eos": lambda group: math.exp(rate(group, "text_nats", "text_tokens")),
    "bits_per_byte": lambda group: rate(group, "text_nats", "text_bytes") / math.log(2),
}


@given(samples, st.sampled_from(["", "_before"]))
def test_scores_are_their_definitions(found: list[SampleNats], suffix: str) -> None:
    """Each metric divides its sums once: per task, pooled, and as the plain mean over tasks."""
    rows = {(s.metric, s.task): (s.value, s.n) for s in perplexity.scores(found, suffix)}
    groups = {task: [s for s in found if s.task == task] for task in sorted({s.task for s in found})}
    for metric, define in DEFINITIONS.items():
        values = {task: define(group) for task, group in groups.items()}
        for task, group in groups.items():
            assert rows.pop((metric + suffix, task)) == (pytest.approx(values[task]), len(group))
        mean = sum(values.values()) / len(values)
        assert rows.pop((metric + suffix, "mean")) == (pytest.approx(mean), len(groups))
        assert rows.pop((metric + suffix, "pooled")) == (pytest.approx(define(found)), len(found))
    assert list(rows) == [("ppl_released" + suffix, "pooled")]


def test_nothing_scored_is_none() -> None:
    """A task of which no text was scored has no value for it, and then there is no mean over tasks either."""
    only_eos = SampleNats(
        id="e", task="b", nats=2.0, tokens=1, text_nats=0.0, text_tokens=0, text_bytes=0, all_nats=5.0, all_tokens=4
    )
    rows = perplexity.scores([sample("s", "a", 3.0, 1.0, 0.0, 3), only_eos])
    for metric in ("ppl_without_eos", "bits_per_byte"):
        values = {s.task: s.value for s in rows if s.metric == metric}
        assert (values["b"], values["mean"]) == (None, None)
        assert values["a"] == values["pooled"]
    assert next(s.value for s in rows if (s.metric, s.task) == ("ppl", "b")) == pytest.approx(math.exp(2))


def test_mean_over_tasks_is_plain() -> None:
    """Every task counts the same; one without a value leaves no mean."""
    assert perplexity.mean_over_tasks("m", [1.0, 4.0]) == Score(task="mean", metric="m", value=2.5, n=2)
    assert perplexity.mean_over_tasks("m", [1.0, None]) == Score(task="mean", metric="m", value=None, n=2)


def test_released_definition_is_that_of_the_released_code(small_llama: LlamaForCausalLM) -> None:
    """exp of the mean over batches of two, by id, of transformers' own loss over prompt and response, tasks pooled."""
    losses = []
    for start in range(0, len(ROWS), 2):
        batch = collate(sorted(ROWS, key=lambda r: r.id)[start : start + 2], PAD, "all")
        losses.append(
            small_llama(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.item()
        )
    found = perplexity.scores(perplexity.score(small_llama, ROWS[::-1], 3, PAD))
    (released,) = [s for s in found if s.metric == "ppl_released"]
    assert (released.task, released.n) == ("pooled", len(ROWS))
    assert released.value == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-6)
