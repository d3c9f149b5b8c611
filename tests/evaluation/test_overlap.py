"""BLEU-4 and ROUGE-L: sacrebleu's and rouge_score's own numbers, from per-sample counts."""

import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from transformers import AutoTokenizer

from data_prep import mini
from data_prep.preview import EMBEDDED
from hycam_exp.data import sources
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import encode
from hycam_exp.evaluation.generation import Decoder
from hycam_exp.evaluation.metrics import Score
from hycam_exp.evaluation.overlap import Overlap, corpus_bleu, latin_words, overlap, scores, unicode_words, unseen

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


def rouge_l(prediction: str, reference: str) -> float | None:
    return overlap("r", "t", prediction, reference).rouge_l


def rouge_l_unicode(prediction: str, reference: str) -> float | None:
    return overlap("r", "t", prediction, reference).rouge_l_unicode


def sacrebleu(found: list[tuple[str, str]]) -> float | None:
    """None where no reference has four of its tokens; its last digit for a whole match is the logarithm's."""
    predictions, references = zip(*found, strict=True)
    if all(len(Tokenizer13a()(reference.rstrip()).split()) < 4 for reference in references):
        return None
    return min(1.0, BLEU().corpus_score(list(predictions), [list(references)]).score / 100)


def rouge_score(prediction: str, reference: str) -> float | None:
    """None where the reference has no word of its tokenizer's."""
    if not any(character in string.ascii_letters + string.digits for character in reference.lower()):
        return None
    return ROUGE.score(reference, prediction)["rougeL"].fmeasure


def mean(values: list[float | None]) -> tuple[float | None, int]:
    known = [value for value in values if value is not None]
    return (pytest.approx(sum(known) / len(known), abs=1e-12) if known else None, len(known))


@given(pairs)
def test_corpus_bleu_is_sacrebleus(found: list[tuple[str, str]]) -> None:
    """From the samples' summed counts comes exactly the BLEU that sacrebleu gives the whole corpus."""
    assert corpus_bleu(sampled(found)) == sacrebleu(found)


@pytest.mark.parametrize("count", range(1, len(PAIRS) + 1))
def test_corpus_bleu_of_varied_texts(count: int) -> None:
    """The same on prose, code, other scripts, entities and empty predictions, together and in part."""
    found = PAIRS[-count:]
    assert corpus_bleu(sampled(found)) == sacrebleu(found)
    pooled = next(s for s in scores(sampled(found)) if (s.task, s.metric) == ("pooled", "rouge_l"))
    assert (pooled.value, pooled.n) == mean([rouge_score(*pair) for pair in found])


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
        rouge_l=pytest.approx(2 * 1 * 0.8 / 1.8), rouge_l_unicode=pytest.approx(2 * 1 * 0.8 / 1.8),
    )  # fmt: skip


def test_empty_prediction_scores_zero() -> None:
    """No text overlaps with nothing, alone and as a whole corpus."""
    empty = overlap("r1", "dolly", "", "a b c d")
    assert (empty.prediction_length, empty.rouge_l, corpus_bleu([empty])) == (0, 0.0, 0.0)


def test_whole_match_scores_one() -> None:
    """A corpus that equals its references has exactly one in every score, of which none may be above it."""
    found = scores(sampled([("The cat sat on the mat.", "The cat sat on the mat.")] * 3))
    assert {s.metric for s in found} == {"bleu4", "rouge_l", "rouge_l_unicode"}
    assert {s.value for s in found} == {1.0}


@given(pairs, pairs, st.sampled_from(["", "_before"]))
def test_scores_are_per_task_mean_and_pooled(first: list, second: list, suffix: str) -> None:
    """BLEU is a corpus's, per task and pooled over all; the mean over tasks is that of the tasks' values.

    ROUGE-L is over the samples that have one; a mean over tasks is None where a task has none.
    """
    both = {"auto_cot": first, "dolly": second}
    found = scores([s for task, of in both.items() for s in sampled(of, task)], suffix)
    measures = {
        "bleu4": lambda of: (None if sacrebleu(of) is None else pytest.approx(sacrebleu(of), abs=1e-12), len(of)),
        "rouge_l": lambda of: mean([rouge_score(*pair) for pair in of]),
        "rouge_l_unicode": lambda of: mean([rouge_l_unicode(*pair) for pair in of]),
    }
    expected = []
    for metric, measure in measures.items():
        values = {task: measure(of) for task, of in both.items()}
        rows = [(task, *value) for task, value in values.items()]
        known = [value.expected if value is not None else None for value, _ in values.values()]
        over_tasks = None if None in known else pytest.approx(sum(known) / 2, abs=1e-12)
        rows += [("mean", over_tasks, 2), ("pooled", *measure(first + second))]
        expected += [Score(task=t, metric=metric + suffix, value=v, n=n) for t, v, n in rows]
    assert found == expected


FOREIGN = {
    "Russian": (
        "\u041a\u043e\u0448\u043a\u0430 \u0441\u0438\u0434\u0438\u0442 \u0434\u043e\u043c\u0430.",
        ["\u043a\u043e\u0448\u043a\u0430", "\u0441\u0438\u0434\u0438\u0442", "\u0434\u043e\u043c\u0430"],
    ),
    "Chinese": ("\u4f60\u597d\uff0c\u4e16\u754c", ["\u4f60", "\u597d", "\u4e16", "\u754c"]),
    "Japanese": ("\u732b\u306f\u30cd\u30b3\u3002", ["\u732b", "\u306f", "\u30cd", "\u30b3"]),
    "Korean": ("\uc548\ub155 \uc138\uacc4", ["\uc548\ub155", "\uc138\uacc4"]),
    "Hindi": (
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
        ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e"],
    ),
    "Arabic": ("\u0645\u0631\u062d\u0628\u0627 \u0628\u0643", ["\u0645\u0631\u062d\u0628\u0627", "\u0628\u0643"]),
}


@pytest.mark.parametrize("language", FOREIGN)
def test_text_that_rouge_l_cannot_see_is_null(language: str) -> None:
    """For a reference without Latin letters or digits ROUGE-L is null; words of its own script score it."""
    text, expected = FOREIGN[language]
    assert unicode_words(text) == expected
    same = overlap("r", "t", text, text)
    assert (same.rouge_l, same.rouge_l_unicode) == (None, 1.0)
    other = overlap("r", "t", "ok", text)
    assert (other.rouge_l, other.rouge_l_unicode) == (None, 0.0)
    half = overlap("r", "t", " ".join(expected[:1]), text)
    assert half.rouge_l_unicode == pytest.approx(2 / (1 + len(expected)))


@pytest.mark.parametrize("text", ["", "  \n", "?!", "*** ---", "\U0001f600"])
def test_reference_without_words_has_neither(text: str) -> None:
    """Where there is no word to be found there is no F of either kind, whatever was said."""
    for said in (text, "something"):
        assert (rouge_l(said, text), rouge_l_unicode(said, text)) == (None, None)


@given(st.text(st.characters(max_codepoint=127), max_size=60), st.text(st.characters(max_codepoint=127), max_size=60))
def test_on_ascii_both_kinds_are_one(prediction: str, reference: str) -> None:
    """Words of all scripts are those of ROUGE-L where there is only ASCII, and so is the F."""
    assert unicode_words(reference) == latin_words(reference)
    assert rouge_l_unicode(prediction, reference) == rouge_l(prediction, reference)


def test_composed_and_decomposed_letters_are_the_same() -> None:
    """A word is the same however its accents are encoded, and in either case."""
    assert rouge_l_unicode("CAFE\u0301", "caf\u00e9") == 1.0
    assert unicode_words("STRASSE") == unicode_words("stra\u00dfe")


def test_null_goes_through_means_and_is_told() -> None:
    """A task of null samples has no ROUGE-L, and so has no mean over tasks; pooled is over the others; all is told."""
    russian, chinese = FOREIGN["Russian"][0], FOREIGN["Chinese"][0]
    seen = [("a b c d", "a b c d"), ("x", "a b c d")]
    found = sampled(seen, "english") + sampled([(russian, russian)] * 3, "russian")
    found += sampled([("4 \u0434\u043e\u043c\u0430", "4 \u0434\u043e\u043c\u0430"), (chinese, chinese)], "mixed")
    values = {s.task: (s.value, s.n) for s in scores(found) if s.metric == "rouge_l"}
    assert values == {
        "english": (0.5, 2), "mixed": (1.0, 1), "russian": (None, 0), "mean": (None, 3),
        "pooled": (pytest.approx(2 / 3), 3),
    }  # fmt: skip
    assert {s.task: s.value for s in scores(found) if s.metric == "rouge_l_unicode"} == {
        "english": 0.5, "mixed": 1.0, "russian": 1.0, "mean": pytest.approx(2.5 / 3), "pooled": pytest.approx(6 / 7),
    }  # fmt: skip
    assert [sentence.split(",")[0] for sentence in unseen(found)] == [
        "mixed: BLEU-4 is null",
        "mixed: ROUGE-L is null for 1 of 2 references",
        "russian: ROUGE-L is null for 3 of 3 references",
    ]
    assert unseen(sampled(seen)) == []


def test_short_references_have_no_bleu() -> None:
    """Where every reference is a word or two, as in a classification, BLEU-4 is null, and not 0 for right answers."""
    short = [("yes", "yes"), ("very bad", "very bad")]
    assert corpus_bleu(sampled(short)) is None
    assert corpus_bleu(sampled([*short, ("a b c d", "a b c d")])) == 1.0


TASKS = ("auto_cot", "icliniq", "dolly", "code_alpaca", "web_gpt")
MINI = ("mini_reasoning", "mini_medical", "mini_passage", "mini_code", "mini_sources")
TOKENIZERS = ("llama2", "llama3", "mistral_v0_3", "qwen2_5")


@cache
def read(task: str, root: str | None) -> list[Record]:
    return sources.read([task], root).records


def repeated(tokenizer: Any, task: str, root: str | None, most: int | None) -> list[Overlap]:
    """The overlap of a model that repeats the references, decoded from the ids of training."""
    records = read(task, root)[:most]
    rows = encode(records, tokenizer, "alpaca", 100_000)
    answers = iter(rows)

    class Repeating:
        """Answers each prompt with the response that follows it in training."""

        generation_config = None
        _forward_hooks: ClassVar[dict[int, Any]] = {}

        def eval(self) -> None:
            """As a module."""

        def parameters(self) -> Iterator[torch.Tensor]:
            yield torch.zeros(1)

        def generate(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
            row = next(answers)
            return torch.tensor([row.input_ids])

    decoder = Decoder(
        model=Repeating(), tokenizer=tokenizer, max_new_tokens=100_000, positions=None, pad_id=tokenizer.eos_token_id
    )
    told = [decoder.decode([row])[0] for row in rows]
    assert not any(prediction.capped for prediction in told)
    return [overlap(row.id, task, p.text, row.reference) for row, p in zip(rows, told, strict=True)]


def assert_all_are_one(samples: list[Overlap]) -> None:
    assert {(s.metric, s.value) for s in scores(samples)} == {(m, 1.0) for m in ("bleu4", "rouge_l", "rouge_l_unicode")}


@pytest.mark.parametrize("task", mini.TASKS)
def test_repeated_references_of_mini_score_one(task: str) -> None:
    """A model that repeats mini's references scores exactly one, through the embedded tokenizer and decoding."""
    assert_all_are_one(repeated(AutoTokenizer.from_pretrained(EMBEDDED), task, None, 100))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_repeated_references_score_one(shared: Path, name: str) -> None:
    """A model that repeats the references scores exactly one on the first records of every set, in any tokens."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    for task in TASKS:
        assert_all_are_one(repeated(tokenizer, task, str(shared / "data"), 50))


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_repeated_references_of_whole_sets_score_one(shared: Path, name: str) -> None:
    """The same on every record of every set."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    for task in TASKS:
        assert_all_are_one(repeated(tokenizer, task, str(shared / "data"), None))
