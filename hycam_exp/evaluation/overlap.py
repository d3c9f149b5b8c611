"""Overlap of a prediction with its reference: BLEU-4 (sacrebleu) and ROUGE-L (rouge_score's definition).

Each sample keeps its sufficient statistics; a corpus's BLEU is computed from their sums.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from rapidfuzz.distance import LCSseq

from hycam_exp.evaluation.perplexity import mean_over_tasks
from hycam_exp.records.store import Score

ORDERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One sample's BLEU counts (matches and totals of 1- to 4-grams, lengths) and ROUGE-L F."""

    id: str
    task: str
    correct: list[int]
    total: list[int]
    prediction_length: int
    reference_length: int
    rouge_l: float


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True)  # per sentence; counts do not depend on it


@cache
def _rouge_tokenizer() -> Any:
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(use_stemmer=False)


def rouge_l(prediction: str, reference: str) -> float:
    """F of precision and recall of the longest common subsequence of rouge_score's tokens."""
    hypothesis, target = _rouge_tokenizer().tokenize(prediction), _rouge_tokenizer().tokenize(reference)
    common = LCSseq.similarity(hypothesis, target)
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(target)
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
        rouge_l=rouge_l(prediction, reference),
    )


def corpus_bleu(samples: Sequence[Overlap]) -> float:
    """sacrebleu's corpus BLEU on 0..1, from the samples' summed counts."""
    from sacrebleu.metrics import BLEU

    return (
        BLEU.compute_bleu(
            correct=[sum(s.correct[n] for s in samples) for n in range(ORDERS)],
            total=[sum(s.total[n] for s in samples) for n in range(ORDERS)],
            sys_len=sum(s.prediction_length for s in samples),
            ref_len=sum(s.reference_length for s in samples),
            smooth_method="exp",
        ).score
        / 100
    )


def mean_rouge(samples: Sequence[Overlap]) -> float:
    """The mean F over samples."""
    return math.fsum(s.rouge_l for s in samples) / len(samples)


def scores(samples: Sequence[Overlap], suffix: str = "") -> list[Score]:
    """BLEU-4 and ROUGE-L per task, as the mean over tasks, and pooled."""
    tasks = sorted({s.task for s in samples})
    rows = []
    for metric, measure in (("bleu4", corpus_bleu), ("rouge_l", mean_rouge)):
        groups = {task: [s for s in samples if s.task == task] for task in tasks}
        values = {task: measure(group) for task, group in groups.items()}
        rows += [Score(task=t, metric=metric + suffix, value=values[t], n=len(groups[t])) for t in tasks]
        rows.append(mean_over_tasks(metric + suffix, values.values()))
        rows.append(Score(task="pooled", metric=metric + suffix, value=measure(samples), n=len(samples)))
    return rows
