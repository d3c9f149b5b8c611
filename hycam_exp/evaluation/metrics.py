"""What each score is: its direction, how it is aggregated, and the definition's version."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's declaration; `better` is lower, higher, or none where neither is."""

    better: str
    aggregation: str
    version: str


_OVERLAP = "per task; mean over tasks; pooled over samples"
METRICS = {
    "ppl": Metric("lower", "exp(sum of nats / scored tokens), response and EOS", "1"),
    "ppl_without_eos": Metric("lower", "exp(sum of nats / scored tokens), response only", "1"),
    "bits_per_byte": Metric("lower", "sum of nats / ln 2 / UTF-8 bytes of the response", "1"),
    "ppl_change": Metric("lower", "perplexity of general text after adaptation over before, minus one", "1"),
    "ppl_released": Metric("lower", "exp(mean over batches of two of the batch's mean loss), prompt included", "1"),
    "bleu4": Metric(
        "higher",
        f"corpus BLEU / 100, {_OVERLAP}; null without a reference of four tokens",
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp",
    ),
    "rouge_l": Metric(
        "higher", f"mean F, {_OVERLAP}; null without Latin letters or digits", "rouge_score tokens, no stemmer"
    ),
    "rouge_l_unicode": Metric(
        "higher", f"mean F, {_OVERLAP}", "words of all scripts, each Han or Kana character one; 1"
    ),
    "cap_share": Metric("lower", "share of samples that reach the most new tokens without EOS", "1"),
    "batch_difference_share": Metric("lower", "share of compared samples whose batched decoding differs", "1"),
}
SCORES = {"ppl": "PPL", "bleu4": "BLEU-4", "rouge_l": "ROUGE-L"}
"""The scores of the paper's tables, in their order, and what they are called there."""
AGGREGATES = ("mean", "pooled")
"""What stands in the place of a score's task: the mean over tasks, and all their samples together."""
WITHHELD = "_withheld"
"""Marks a score of a method that is told the task, with the task withheld."""
LARGEST_EXPONENT = 700


def declared(metric: str) -> Metric:
    """A metric's declaration; `_before` marks the unadapted backbone's score, `WITHHELD` one without the task."""
    return METRICS[metric.removesuffix("_before").removesuffix(WITHHELD)]


def perplexity(nats: float, tokens: int) -> float | None:
    """exp of the mean nats of a token; None where no float holds it."""
    mean = nats / tokens
    return math.exp(mean) if mean < LARGEST_EXPONENT else None
