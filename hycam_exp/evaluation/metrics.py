"""What each score is: direction, aggregation, version, range, title, and how it follows from summed statistics.

METRICS["bleu4"].title  # "BLEU-4": a column of every table of scores
A further metric is one more `declare`; docs/extending.md shows one. Numpy is imported where sums are scored.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Sums = Mapping[str, Array]
    """Columns of samples files summed over samples, by name, and `samples`, their number; all of one shape."""

_ORDERS = range(1, 5)
_CORRECT, _TOTAL = [f"bleu_correct_{n}" for n in _ORDERS], [f"bleu_total_{n}" for n in _ORDERS]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a record keeps of a metric: `better` is lower, higher, or none where neither is better."""

    better: str
    aggregation: str
    version: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: what it is, and how it follows from summed statistics."""

    better: str
    """Which values are better: lower, higher, or none where neither are."""
    aggregation: str
    version: str
    low: float
    high: float = math.inf
    """The smallest and the largest value that it can have; the report refuses a record with another one."""
    title: str | None = None
    """Its name at the head of a column of every table of scores; None for a metric that stands in none."""
    statistics: tuple[str, ...] = ()
    """The columns of a samples file that it follows from; empty where no columns give it."""
    of_texts: Callable[[str, str], Mapping[str, float | None]] | None = None
    """Computes those columns of one sample from prediction and reference, for a metric that needs nothing else."""
    counted: "Mapping[str, Callable[[Sums], Array]]" = field(default_factory=dict)
    """Further numbers of each sample that are summed with them, by name, from its statistics."""
    from_sums: "Callable[[Sums], Array] | None" = None
    """The score of summed statistics, NaN where it is undefined: by it samples are resampled and records checked."""

    @property
    def declaration(self) -> Declaration:
        """What a record keeps of it."""
        return Declaration(self.better, self.aggregation, self.version)

    def allows(self, value: float) -> bool:
        """Whether a score can have this value, up to the rounding of sums."""
        return self.low - 1e-6 <= value <= self.high + 1e-6


def _perplexity(sums: "Sums") -> "Array":
    import numpy as np

    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        found = np.exp(sums["nats"] / sums["tokens"])
    return np.where(np.isfinite(found), found, np.nan)


def _bleu(sums: "Sums") -> "Array":
    """sacrebleu's corpus BLEU on 0..1 with exponential smoothing; 0 without any match or 4-gram, NaN without one to be
    found in any reference."""
    import numpy as np

    length, reference = sums["prediction_length"], sums["reference_length"]
    logs, smoothing = np.zeros_like(length), np.ones_like(length)
    matches, shortest = np.zeros_like(length), np.full_like(length, np.inf)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for correct, total in zip(_CORRECT, _TOTAL, strict=True):
            none = sums[correct] == 0
            smoothing = np.where(none, smoothing * 2, smoothing)
            logs = logs + np.log(np.where(none, 1 / smoothing, sums[correct]) / sums[total])
            matches, shortest = matches + sums[correct], np.minimum(shortest, sums[total])
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        score = brevity * np.exp(logs / len(_CORRECT))
    score = np.where((matches == 0) | (shortest == 0), 0.0, score)
    return np.where(sums["bleu_samples"] > 0, score, np.nan)


def _has_four_tokens(sums: "Sums") -> "Array":
    found: Array = (sums["reference_length"] >= len(_ORDERS)).astype(float)
    return found


def _has_rouge(sums: "Sums") -> "Array":
    import numpy as np

    return np.isfinite(sums["rouge_l"]).astype(float)


def _mean_rouge(sums: "Sums") -> "Array":
    """The mean over the samples that have one; NaN where none has."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums["rouge_samples"] > 0, sums["rouge_l"] / sums["rouge_samples"], np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of a run; `value` is None where it was not measured or is undefined, `n` is the number of samples or
    tasks that it is over."""

    task: str
    metric: str
    value: float | None
    n: int


_OVERLAP = "per task; mean over tasks; pooled over samples"
METRICS = {
    "ppl": Metric(
        "lower", "exp(sum of nats / scored tokens), response and EOS", "1", 1.0, title="PPL",
        statistics=("nats", "tokens"), from_sums=_perplexity,
    ),
    "ppl_without_eos": Metric("lower", "exp(sum of nats / scored tokens), response only", "1", 1.0),
    "bits_per_byte": Metric("lower", "sum of nats / ln 2 / UTF-8 bytes of the response", "1", 0.0),
    "ppl_change": Metric("lower", "perplexity of general text after adaptation over before, minus one", "1", -1.0),
    "ppl_released": Metric(
        "lower", "exp(mean over batches of two of the batch's mean loss), prompt included", "1", 1.0
    ),
    "bleu4": Metric(
        "higher", f"corpus BLEU / 100, {_OVERLAP}; null without a reference of four tokens",
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp", 0.0, 1.0,
        title="BLEU-4", statistics=(*_CORRECT, *_TOTAL, "prediction_length", "reference_length"),
        counted={"bleu_samples": _has_four_tokens}, from_sums=_bleu,
    ),
    "rouge_l": Metric(
        "higher", f"mean F, {_OVERLAP}; null without Latin letters or digits", "rouge_score tokens, no stemmer",
        0.0, 1.0, title="ROUGE-L", statistics=("rouge_l",), counted={"rouge_samples": _has_rouge},
        from_sums=_mean_rouge,
    ),
    "rouge_l_unicode": Metric(
        "higher", f"mean F, {_OVERLAP}", "words of all scripts, each Han or Kana character one; 1", 0.0, 1.0
    ),
    "cap_share": Metric("lower", "share of samples that reach the most new tokens without EOS", "1", 0.0, 1.0),
    "batch_difference_share": Metric(
        "lower", "share of compared samples whose batched decoding differs", "1", 0.0, 1.0
    ),
}  # fmt: skip
SCORES = {name: metric.title for name, metric in METRICS.items() if metric.title}
"""The metrics with a title in their order: the columns of the tables of scores, and what is resampled and tested."""
AGGREGATES = ("mean", "pooled")
"""What stands in the place of a score's task: the mean over tasks, and all their samples together."""
WITHHELD = "_withheld"
"""Marks a score of a method that is told the task, with the task withheld."""
LARGEST_EXPONENT = 700
_BEFORE = "_before"


def declare(name: str, metric: Metric) -> None:
    """Add a metric; with `of_texts` and `from_sums` it is computed, recorded, resampled and shown by that."""
    METRICS[name] = metric
    if metric.title:
        SCORES[name] = metric.title


def score(metric: Metric, columns: "Mapping[str, Array]", samples: int) -> float | None:
    """The score of samples from the columns of their statistics, NaN where a sample has none; None if undefined."""
    import numpy as np

    counted = {name: count(columns) for name, count in metric.counted.items()}
    sums = {name: np.asarray(np.nansum(column)) for name, column in {**columns, **counted}.items()}
    assert metric.from_sums is not None, "it is asked for its sums"
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(metric.from_sums({**sums, "samples": np.asarray(float(samples))}))
    return value if math.isfinite(value) else None


def is_declared(metric: str) -> bool:
    """Whether `declared` knows a metric."""
    return _plain(metric) in METRICS


def declared(metric: str) -> Metric:
    """A metric's declaration; `_before` marks the unadapted backbone's score, `WITHHELD` one without the task."""
    return METRICS[_plain(metric)]


def _plain(metric: str) -> str:
    return metric.removesuffix(_BEFORE).removesuffix(WITHHELD)


def perplexity(nats: float, tokens: int) -> float | None:
    """exp of the mean nats of a token; None where no float holds it."""
    mean = nats / tokens
    return math.exp(mean) if mean < LARGEST_EXPONENT else None
