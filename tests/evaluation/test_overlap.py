"""BLEU-4 and ROUGE-L: sacrebleu's and rouge_score's own numbers, from per-sample counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from hycam_exp.evaluation.overlap import Overlap, corpus_bleu, mean_rouge, overlap, rouge_l, scores
from hycam_exp.records.store import Score

ROUGE = RougeScorer(["rougeL"], use_stemmer=False)
PAIRS = [
    ("The cat sat on the mat.", "The cat sat on the mat."),
    ("the cat the cat the cat", "The cat is on the mat, and the dog is out."),
    ("", "An answer that was never given."),
    ("   \n", "Blank."),
    ("Wholly different words", "nothing in common here"),
    ("def f(x):\n\treturn {'a': x[0]}  # i++ && j--", "def f(y):\n    return {'a': y[0]}\n"),
    ("Größe und Höhe: 3,5 m² \u2013 «naïve» café", "Größe, Höhe: 3.5 m² - naïve Café"),
    ("世界 你好", "世界 你好 吗"),
    ("👩‍👩‍👧 ok &quot;so&quot; &amp; <skipped>", 'ok "so" & more'),
    ("1,000.50 dollars, i.e. $1,000.50", "1,000.50 dollars (i.e. $1000.50)"),
    ("It ends here .", "It ends here ."),
    ("runs running ran", "run run run"),
]
words = st.sampled_from(
    ["the", "The", "cat", "cats", "sat.", "a,b", "3.5", "x_1", "é", "世界", "\n", "&amp;", "-", "{", "}"]
)
texts = st.lists(words, max_size=12).map(" ".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)


def sampled(found: list[tuple[str, str]], task: str = "dolly") -> list[Overlap]:
    return [overlap(f"{task}{i}", task, *pair) for i, pair in enumerate(found)]


def sacrebleu(found: list[tuple[str, str]]) -> float:
    predictions, references = zip(*found, strict=True)
    return BLEU().corpus_score(list(predictions), [list(references)]).score / 100


def rouge_score(prediction: str, reference: str) -> float:
    return ROUGE.score(reference, prediction)["rougeL"].fmeasure


@given(pairs)
def test_corpus_bleu_is_sacrebleus(found: list[tuple[str, str]]) -> None:
    """From the samples' summed counts comes exactly the BLEU that sacrebleu gives the whole corpus."""
    assert corpus_bleu(sampled(found)) == sacrebleu(found)


@pytest.mark.parametrize("count", range(1, len(PAIRS) + 1))
def test_corpus_bleu_of_varied_texts(count: int) -> None:
    """The same on prose, code, other scripts, entities and empty predictions, together and in part."""
    found = PAIRS[-count:]
    assert corpus_bleu(sampled(found)) == sacrebleu(found)
    assert mean_rouge(sampled(found)) == pytest.approx(sum(rouge_score(*pair) for pair in found) / count)


@given(texts, texts)
def test_rouge_l_is_rouge_scores(prediction: str, reference: str) -> None:
    """F of the longest common subsequence, as rouge_score computes it without a stemmer."""
    assert rouge_l(prediction, reference) == pytest.approx(rouge_score(prediction, reference), abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_rouge_l_of_varied_texts(pair: tuple[str, str]) -> None:
    """The same on each of the varied texts."""
    assert rouge_l(*pair) == pytest.approx(rouge_score(*pair), abs=1e-12)


def test_rouge_l_by_hand() -> None:
    """Of four predicted and five true words three are common in order: F is 2 (3/4) (3/5) / (3/4 + 3/5)."""
    assert rouge_l("a b x c", "A, b; c d e") == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_sample_keeps_its_counts() -> None:
    """Matches and totals of 1- to 4-grams, and both lengths in tokens, punctuation being one each."""
    assert overlap("r1", "dolly", "a b c d.", "a b c x d.") == Overlap(
        id="r1", task="dolly", correct=[5, 3, 1, 0], total=[5, 4, 3, 2], prediction_length=5, reference_length=6,
        rouge_l=pytest.approx(2 * 1 * 0.8 / 1.8),
    )  # fmt: skip


def test_empty_prediction_scores_zero() -> None:
    """No text overlaps with nothing, alone and as a whole corpus."""
    empty = overlap("r1", "dolly", "", "a b c")
    assert (empty.prediction_length, empty.rouge_l, corpus_bleu([empty])) == (0, 0.0, 0.0)


def test_whole_match_scores_one() -> None:
    """A corpus that equals its references has BLEU and ROUGE-L of one."""
    found = sampled([("The cat sat on the mat.", "The cat sat on the mat.")] * 3)
    assert (corpus_bleu(found), mean_rouge(found)) == (pytest.approx(1.0), 1.0)


@given(pairs, pairs, st.sampled_from(["", "_before"]))
def test_scores_are_per_task_mean_and_pooled(first: list, second: list, suffix: str) -> None:
    """BLEU is a corpus's, per task and pooled over all; the mean over tasks is that of the tasks' values."""
    both = {"auto_cot": first, "dolly": second}
    found = scores([s for task, of in both.items() for s in sampled(of, task)], suffix)

    def mean_f(of: list[tuple[str, str]]) -> float:
        return sum(rouge_score(*pair) for pair in of) / len(of)

    expected = []
    for metric, measure in (("bleu4", sacrebleu), ("rouge_l", mean_f)):
        values = {task: measure(of) for task, of in both.items()}
        rows = [*((task, values[task], len(of)) for task, of in both.items())]
        rows += [("mean", sum(values.values()) / 2, 2), ("pooled", measure(first + second), len(first + second))]
        expected += [Score(task=t, metric=metric + suffix, value=pytest.approx(v, abs=1e-12), n=n) for t, v, n in rows]
    assert found == expected
