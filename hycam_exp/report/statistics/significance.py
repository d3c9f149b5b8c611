"""One row against the best of others over folds: paired tests, corrected intervals, standardised differences, stars.

Of a fold with several seeds their mean counts. Sources: the corrected resampled t-test, Nadeau and Bengio (2003);
Holm's step-down correction, Holm (1979). What was checked is in docs/statistics.md. E.g. `compare(hycam, rivals,
"ppl").gain`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.evaluation.metrics import declared
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.titles import folds_text

LEVEL = 0.05
TEST_SHARE = 1 / 7
"""Test over training records of a fold: 1 block against 7."""
_ROUNDING = 1e-12  # a spread below this share of the values is what float arithmetic leaves of none
_POINTS = 20_000  # of the spread's distribution, in `power`
_LARGEST_T = 100.0  # beyond which the noncentral t distribution is not inverted
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One score of one row against the best of its rivals, over the same folds."""

    metric: str
    task: str
    ours: str
    baseline: str | None
    """The best by its mean over folds; None where there is none to choose."""
    n_folds: int
    """Folds that both have."""
    mean: float | None = None
    baseline_mean: float | None = None
    difference: float | None = None
    """Ours minus the baseline's, in the metric's units."""
    interval: tuple[float, float] | None = None
    """Its 95% interval by the corrected resampled t-test."""
    percent: float | None = None
    """The improvement, positive where ours is better, in percent of the baseline's mean; None where that is 0."""
    p: float | None = None
    """Of the paired two-sided t-test over folds."""
    p_corrected_resampled: float | None = None
    """Of the same test with the variance that folds with shared training data have."""
    p_corrected_holm: float | None = None
    """The same corrected for the number of columns of a table, by `with_holm`; None before."""
    effect: float | None = None
    """d_z: the improvement over the standard deviation of the differences, corrected for few folds (Hedges)."""
    effect_interval: tuple[float, float] | None = None
    """Its 95% interval, corrected as `interval` is."""
    reason: str | None = None
    """Why something above is None."""

    @property
    def gain(self) -> float | None:
        """The difference, positive where ours is better."""
        if self.difference is None:
            return None
        return -self.difference if declared(self.metric).better == "lower" else self.difference

    @property
    def is_improvement(self) -> bool:
        return self.gain is not None and self.gain > 0

    @property
    def is_significant(self) -> bool:
        """By the corrected resampled t-test and Holm's correction over a table, one way or the other."""
        return self.p_corrected_holm is not None and self.p_corrected_holm < LEVEL

    @property
    def is_worse(self) -> bool:
        """The contrary of a star."""
        return self.is_significant and self.gain is not None and self.gain < 0

    @property
    def star(self) -> bool:
        """A significant improvement."""
        return self.is_significant and self.is_improvement

    @property
    def uncorrected_star(self) -> bool:
        """The paper's star: an improvement whose p of the paired t-test, not corrected for anything, is below 0.05."""
        return self.is_improvement and self.p is not None and self.p < LEVEL

    @property
    def is_worse_uncorrected(self) -> bool:
        """The contrary of the paper's star."""
        return self.gain is not None and self.gain < 0 and self.p is not None and self.p < LEVEL


def p_values(differences: Array, test_share: float = 0.0) -> Array:
    """Two-sided p of t-tests that mean differences are zero, over the last axis: (..., folds) -> (...).

    `test_share` is the number of test over training records of a fold: it widens the variance's 1 / folds to
    1 / folds + test_share (Nadeau and Bengio); 0 is the plain paired t-test. All differences zero: p = 1. Not defined,
    so NaN: fewer than two folds, a value that is not finite, equal differences other than zero.
    """
    from scipy.special import stdtr

    folds = differences.shape[-1]
    if folds < 2:
        return np.full(differences.shape[:-1], np.nan)
    finite = np.isfinite(differences).all(-1)
    known = np.where(np.expand_dims(finite, -1), differences, 0.0)
    mean, spread = known.mean(-1), known.std(-1, ddof=1)
    varies = spread > _ROUNDING * np.abs(known).max(-1)
    error = np.where(varies, spread, 1.0) * math.sqrt(1 / folds + test_share)
    p = np.where(varies, 2 * stdtr(folds - 1, -np.abs(mean / error)), np.where(mean == 0, 1.0, np.nan))
    return np.where(finite, p, np.nan)


def paired_t(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p of the paired t-test over folds; 1 where a equals b, None where `p_values` has none."""
    return _known(p_values(_differences(a, b)))


def corrected_resampled_t(a: Sequence[float], b: Sequence[float], test_share: float = TEST_SHARE) -> float | None:
    """Two-sided p of the corrected resampled t-test: variance factor 1/5 + 1/7 for the five folds of a 7:2:1 split."""
    return _known(p_values(_differences(a, b), test_share))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction of a table's p, in their order; a test that was not made (None) does not count."""
    made = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, i) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        corrected[i] = largest
    return corrected


def difference_interval(
    a: Sequence[float], b: Sequence[float], test_share: float = TEST_SHARE
) -> tuple[float, float] | None:
    """The 95% interval of the mean paired difference a - b that the corrected resampled t-test gives; with a test
    share of 0 the plain t interval. None for fewer than two folds or values not finite.
    """
    from scipy.special import stdtrit

    differences = _differences(a, b)
    if len(differences) < 2 or not np.isfinite(differences).all():
        return None
    error = differences.std(ddof=1) * math.sqrt(1 / len(differences) + test_share)
    half = stdtrit(len(differences) - 1, 1 - LEVEL / 2) * error
    return float(differences.mean() - half), float(differences.mean() + half)


def effect_size(
    a: Sequence[float], b: Sequence[float], test_share: float = TEST_SHARE
) -> tuple[float, tuple[float, float]] | None:
    """d_z, the Hedges-corrected standardised paired difference of a - b, and its 95% interval by the noncentral t
    distribution, with the variance of the corrected resampled t-test.

    None where the differences do not vary, are not finite, or are fewer than three.
    """
    differences = _differences(a, b)
    n = len(differences)
    if n < 3 or np.isnan(p_values(differences)) or not np.any(differences):
        return None
    correction = math.gamma((n - 1) / 2) / math.gamma((n - 2) / 2) / math.sqrt((n - 1) / 2)
    raw, error = float(differences.mean() / differences.std(ddof=1)), math.sqrt(1 / n + test_share)
    low, high = (correction * bound * error for bound in _noncentral(raw / error, n - 1))
    return correction * raw, (low, high)


def _noncentral(t: float, freedom: int) -> tuple[float, float]:
    """The shifts of a noncentral t distribution that exceed, and fall below, this t 2.5% of the time."""
    from scipy.special import gammaincinv, nctdtrinc

    tails = (LEVEL / 2, 1 - LEVEL / 2)
    if abs(t) <= _LARGEST_T:
        low, high = (float(nctdtrinc(freedom, 1 - p, t)) for p in tails)
    else:  # the spread alone decides to three digits, and scipy's search may not end
        low, high = sorted(t * math.sqrt(2 * gammaincinv(freedom / 2, p) / freedom) for p in tails)
    return low, high


def power(effect: float, folds: int = NUM_FOLDS, level: float = LEVEL, test_share: float = 0.0) -> float:
    """The chance that a shift of `effect` standard deviations of the differences is found by the two-sided test.

    With `test_share` it is that of the corrected resampled t-test where folds are correlated as it supposes; the
    standard deviation is then that of one fold's difference within a cross-validation.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit

    # The noncentral t as a normal over an independent spread: scipy's own has no value for large effects.
    share = (np.arange(_POINTS) + 0.5) / _POINTS
    spread = np.sqrt(2 * gammaincinv((folds - 1) / 2, share) / (folds - 1))
    critical = stdtrit(folds - 1, 1 - level / 2) * spread
    noncentral = effect / math.sqrt(1 / folds + test_share)
    return float((ndtr(noncentral - critical) + ndtr(-noncentral - critical)).mean())


def best(means: Array, better: str) -> Any:
    """Which baseline has the best mean: (..., baselines) -> (...)."""
    return means.argmin(-1) if better == "lower" else means.argmax(-1)


def compare(ours: SelectedRow, rivals: Sequence[SelectedRow], metric: str, task: str = "mean") -> Comparison:
    """Ours against the best of the rivals; all must be rows of one group.

    Where a row lacks a fold or a score there is no p, no effect and no star, and the comparison says so.
    """
    lacking = [reason for row in (ours, *rivals) if (reason := lacks(row, metric, task))]
    found = Comparison(
        metric=metric, task=task, ours=ours.label, baseline=None, n_folds=len(ours.folds),
        mean=ours.mean(metric, task), reason="; ".join(lacking) or (None if rivals else "no other PEFT row"),
    )  # fmt: skip
    means = [(mean, row) for row in rivals if (mean := row.mean(metric, task)) is not None]
    if not means:
        return found
    better = declared(metric).better
    rival = means[best(np.array([mean for mean, _ in means]), better)][1]
    shared = [fold for fold in ours.folds if fold in rival.folds]
    found = replace(found, baseline=rival.label, baseline_mean=rival.mean(metric, task), n_folds=len(shared))
    a, b = ours.known(metric, task), rival.known(metric, task)
    if lacking or a is None or b is None:
        return found
    return _tested(found, a, b, better)


def _tested(found: Comparison, a: list[float], b: list[float], better: str) -> Comparison:
    """The comparison of complete folds a and b, with everything but the corrections of a table."""
    sign = -1.0 if better == "lower" else 1.0
    difference = float(np.mean(_differences(a, b)))
    reference = abs(float(np.mean(b)))
    effect = effect_size(a, b) if sign > 0 else effect_size(b, a)
    p = paired_t(a, b)
    reason = "the values of the folds are identical" if a == b else None
    if p is None:
        reason = "the differences of the folds do not vary: there is nothing to test against"
    return replace(
        found,
        difference=difference,
        interval=difference_interval(a, b),
        percent=100 * sign * difference / reference if reference else None,
        p=p,
        p_corrected_resampled=corrected_resampled_t(a, b),
        effect=None if effect is None else effect[0],
        effect_interval=None if effect is None else effect[1],
        reason=found.reason or reason,
    )


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one table, with their p corrected for its number of columns."""
    corrected = holm([c.p_corrected_resampled for c in comparisons])
    return [replace(c, p_corrected_holm=p) for c, p in zip(comparisons, corrected, strict=True)]


def lacks(row: SelectedRow, metric: str, task: str = "mean") -> str | None:
    """What a row lacks for a comparison in words: folds, or the score in some; None where nothing."""
    missing = [fold for fold in range(NUM_FOLDS) if fold not in row.folds]
    if missing:
        return f"{row.label} lacks {folds_text(missing)}"
    values = zip(row.folds, row.values(metric, task), strict=True)
    unmeasured = [fold for fold, value in values if value is None or not math.isfinite(value)]
    return f"{row.label} has no {metric} of {task} in {folds_text(unmeasured)}" if unmeasured else None


def _differences(a: Sequence[float], b: Sequence[float]) -> Array:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert first.shape == second.shape
    with np.errstate(invalid="ignore"):  # infinite minus infinite is NaN, and then no p is defined
        return first - second


def _known(p: Array) -> float | None:
    return None if np.isnan(p) else float(p)
