"""Overlap of a prediction with its reference: BLEU-4 (sacrebleu) and ROUGE-L (rouge_score's definition).

A metric is null where the references hold nothing that it could find, since zero would say that nothing is right:
ROUGE-L's words are Latin letters and digits, which Chinese or Russian answers lack. `rouge_l_unicode` is that F over
words of all scripts. Each sample keeps its sufficient statistics; a corpus's BLEU is computed from their sums.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import regex
from rapidfuzz.distance import LCSseq

from hycam_exp.evaluation.metrics import METRICS, Score
from hycam_exp.evaluation.metrics import score as score_of
from hycam_exp.evaluation.perplexity import mean_over_tasks

ORDERS = 4
# Chinese and Japanese set no space between words: there a character stands for a word, as in BERT's tokenizer.
_UNICODE_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}]\p{M}*|[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}]]+", regex.V1
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One sample's BLEU counts (matches and totals of 1- to 4-grams, lengths), and ROUGE-L F over words of two kinds.

    An F is None where the reference has no such word.
    """

    id: str
    task: str
    correct: list[int]
    total: list[int]
    prediction_length: int
    reference_length: int
    rouge_l: float | None
    rouge_l_unicode: float | None
    further: dict[str, float | None] = field(default_factory=dict)
    """The statistics of metrics that declare how a text gives them, by column."""


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True)  # per sentence; counts do not depend on it


def latin_words(text: str) -> list[str]:
    """The text's words as rouge_score's tokenizer has them, unstemmed: runs of a to z and 0 to 9, lower-cased."""
    from rouge_score.tokenize import tokenize  # its scorer imports nltk, and nltk needs a home folder

    words: list[str] = tokenize(text, None)
    return words


def unicode_words(text: str) -> list[str]:
    """The text's words in any script: runs of letters, marks and digits, each Han or Kana character by itself.

    The text is case-folded and in Unicode's composed form. On ASCII the words are those of `latin_words`.
    """
    return _UNICODE_WORD.findall(unicodedata.normalize("NFC", text.casefold()))


def longest_common_f(prediction: Sequence[str], reference: Sequence[str]) -> float | None:
    """F of precision and recall of two texts' longest common subsequence of words; None without a word to be found."""
    if not reference:
        return None
    common = LCSseq.similarity(prediction, reference)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def overlap(id: str, task: str, prediction: str, reference: str) -> Overlap:
    """A sample's statistics; the reference is the full raw answer."""
    sentence = _bleu().sentence_score(prediction, [reference])
    return Overlap(
        id=id,
        task=task,
        correct=list(sentence.counts),
        total=list(sentence.totals),
        prediction_length=sentence.sys_len,
        reference_length=sentence.ref_len,
        rouge_l=longest_common_f(latin_words(prediction), latin_words(reference)),
        rouge_l_unicode=longest_common_f(unicode_words(prediction), unicode_words(reference)),
        further={
            column: value
            for metric in METRICS.values()
            if metric.of_texts
            for column, value in metric.of_texts(prediction, reference).items()
        },
    )


def corpus_bleu(samples: Sequence[Overlap]) -> float | None:
    """sacrebleu's corpus BLEU on 0..1, from the samples' summed counts; None where no reference has four tokens.

    Then no prediction could have a 4-gram in common, and sacrebleu's 0 would say the same of every answer.
    """
    if all(s.reference_length < ORDERS for s in samples):
        return None
    from sacrebleu.metrics import BLEU

    percent = BLEU.compute_bleu(
        correct=[sum(s.correct[n] for s in samples) for n in range(ORDERS)],
        total=[sum(s.total[n] for s in samples) for n in range(ORDERS)],
        sys_len=sum(s.prediction_length for s in samples),
        ref_len=sum(s.reference_length for s in samples),
        smooth_method="exp",
    ).score
    return min(1.0, percent / 100)  # the logarithm of 100 and back is 100.00000000000004


def scores(samples: Sequence[Overlap], suffix: str = "") -> list[Score]:
    """BLEU-4, both kinds of ROUGE-L and what declares its own statistics, per task, as the mean over tasks, and pooled.

    ROUGE-L is the mean F over the samples that have one, `n` of them, and None where there is none; so is then the mean
    over tasks.
    """
    tasks = sorted({s.task for s in samples})
    groups = {**{task: [s for s in samples if s.task == task] for task in tasks}, "pooled": list(samples)}
    rows = []
    for metric in ("bleu4", "rouge_l", "rouge_l_unicode", *(name for name, of in METRICS.items() if of.of_texts)):
        of_groups = {name: _score(name, metric, suffix, group) for name, group in groups.items()}
        rows += [of_groups[task] for task in tasks]
        rows.append(mean_over_tasks(metric + suffix, [of_groups[task].value for task in tasks]))
        rows.append(of_groups["pooled"])
    return rows


def _score(name: str, metric: str, suffix: str, group: Sequence[Overlap]) -> Score:
    """One metric of the samples of a task, or of all."""
    if metric == "bleu4":
        return Score(task=name, metric=metric + suffix, value=corpus_bleu(group), n=len(group))
    declared = METRICS[metric]
    if declared.of_texts:
        columns = {c: np.array([s.further[c] for s in group], dtype=float) for c in declared.statistics}
        return Score(task=name, metric=metric + suffix, value=score_of(declared, columns, len(group)), n=len(group))
    known = [f for s in group if (f := getattr(s, metric)) is not None]
    return Score(
        task=name, metric=metric + suffix, value=math.fsum(known) / len(known) if known else None, n=len(known)
    )


def unseen(samples: Sequence[Overlap]) -> list[str]:
    """A sentence for each task with references that ROUGE-L or BLEU-4 cannot see."""
    sentences = []
    for task in sorted({s.task for s in samples}):
        group = [s for s in samples if s.task == task]
        if corpus_bleu(group) is None:
            sentences.append(f"{task}: BLEU-4 is null, since no reference has four tokens")
        null = sum(s.rouge_l is None for s in group)
        if null:
            sentences.append(
                f"{task}: ROUGE-L is null for {null} of {len(group)} references, which have no Latin letter or digit; "
                "rouge_l_unicode has words of all scripts"
            )
    return sentences
