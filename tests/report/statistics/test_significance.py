"""Tests over folds, against scipy, by hand and by simulation with fixed seeds."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hycam_exp.evaluation.metrics import Score
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.statistics import significance as statistics
from hycam_exp.report.statistics.significance import (
    Comparison,
    compare,
    corrected_resampled_t,
    difference_interval,
    effect_size,
    holm,
    paired_t,
    power,
    with_holm,
)  # fmt: skip
from scripts.star_rates import BEYOND, NULLS, World, p_of, rates, scores
from tests.report.toy import record, rows_of

A, B = [1.80, 1.71, 1.93, 1.85, 1.79], [1.62, 1.60, 1.63, 1.68, 1.51]
fold_values = st.lists(st.floats(-10, 10), min_size=5, max_size=5)


def settings(method: str, values: Sequence[float | None], metric: str = "ppl") -> SelectedRow:
    """A row whose folds, counted from 0, have these values."""
    records = [
        dataclasses.replace(record(fold, None, method), scores=[Score(task="mean", metric=metric, value=value, n=5)])
        for fold, value in enumerate(values)
    ]
    (row,) = rows_of(records)
    return row


@given(fold_values, fold_values)
def test_paired_t_is_scipys(a: list[float], b: list[float]) -> None:
    """Wherever the differences vary, p is that of scipy.stats.ttest_rel, with the values in either order."""
    differences = np.subtract(a, b)
    if differences.std() > 1e-6:
        assert paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert paired_t(b, a) == paired_t(a, b)


def test_corrected_resampled_t_by_hand() -> None:
    """t is the mean difference over s sqrt(1/5 + 1/7): Nadeau and Bengio's variance for five folds of 7:2:1."""
    differences = np.subtract(A, B)
    t = differences.mean() / (differences.std(ddof=1) * math.sqrt(1 / 5 + 1 / 7))
    assert corrected_resampled_t(A, B) == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert corrected_resampled_t(A, B, test_share=0.0) == paired_t(A, B)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [(A, A, 1.0), (np.add(A, 0.1), A, None), ([math.nan, *A[1:]], B, None),
     ([math.inf, *A[1:]], [math.inf, *B[1:]], None),
     ([1.0], [2.0], None), ([], [], None)],
)  # fmt: skip
def test_degenerate_folds_have_a_defined_p(a: list[float], b: list[float], p: float | None) -> None:
    """Identical values: 1; a constant shift, NaN, infinity, one fold or none: no p; and nothing warns."""
    assert paired_t(a, b) == p
    assert corrected_resampled_t(a, b) == p
    assert effect_size(a, b) is None


def test_holm_by_hand() -> None:
    """Sorted p times 4, 3, 2, 1, never falling, at most 1; a missing test stays missing and does not count."""
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps: list[float]) -> None:
    """A corrected p is below the level just where the sorted p have each been below level / (tests left)."""
    rejected = set()
    for left, index in zip(range(len(ps), 0, -1), sorted(range(len(ps)), key=ps.__getitem__), strict=True):
        if ps[index] * left >= statistics.LEVEL:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(ps)) if p < statistics.LEVEL} == rejected


def test_difference_interval_is_that_of_the_test() -> None:
    """Plain, it is scipy's; corrected, it is wider by the root of (1/5 + 1/7) / (1/5), and its end is where the
    corrected test's p is 0.05."""
    expected = stats.ttest_rel(A, B).confidence_interval(0.95)
    assert difference_interval(A, B, 0.0) == pytest.approx((expected.low, expected.high))
    low, high = difference_interval(A, B)
    mean = np.subtract(A, B).mean()
    assert (high - mean, mean - low) == pytest.approx([math.sqrt(12 / 7) * (expected.high - mean)] * 2)
    assert corrected_resampled_t(A, np.add(B, low)) == pytest.approx(0.05)
    assert difference_interval([1.0], [2.0]) is None


def test_effect_size_by_hand() -> None:
    """Mean over standard deviation times Hedges' factor; its ends are the shifts that give this t 2.5% of the time,
    plain or corrected."""
    differences = np.subtract(A, B)
    raw = differences.mean() / differences.std(ddof=1)
    correction = math.sqrt(2 / 4) * math.gamma(2) / math.gamma(1.5)
    for share in (0.0, 1 / 7):
        error = math.sqrt(1 / 5 + share)
        found, (low, high) = effect_size(A, B, share)
        assert found == pytest.approx(correction * raw)
        assert stats.nct.sf(raw / error, 4, low / error / correction) == pytest.approx(0.025, rel=1e-3)
        assert stats.nct.cdf(raw / error, 4, high / error / correction) == pytest.approx(0.025, rel=1e-3)
    assert effect_size(A, B)[1] == (low, high)
    assert effect_size(B, A)[0] == pytest.approx(-found)


def test_effect_of_a_tiny_spread_is_finite_and_continuous() -> None:
    """However large t is, the interval is there at once; on either side of the largest inverted t it is alike."""
    shape = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    for scale in (1e-1, 1e-4, 1e-9):
        found = effect_size(1 + (shape - 1) * scale, np.zeros(5))
        assert found is not None
        assert 0 < found[1][0] < found[0] < found[1][1] < math.inf
    below, above = (statistics._noncentral(t, 4) for t in (99.999, 100.001))
    assert below == pytest.approx(above, rel=2e-3)
    assert statistics._noncentral(-200.0, 4) == pytest.approx([-bound for bound in above[::-1]] * np.array(2), rel=1e-3)


def test_effect_interval_holds_the_effect_in_95_percent() -> None:
    """Over 2,000 draws of five folds with a true effect of 1 the interval misses in 5%, within binomial bounds."""
    draws = np.random.default_rng(0).normal(1.0, 1.0, (2000, 5))
    correction = math.sqrt(2 / 4) * math.gamma(2) / math.gamma(1.5)
    intervals = [effect_size(row, np.zeros(5), 0.0)[1] for row in draws]
    assert_rate(np.mean([not low <= correction <= high for low, high in intervals]), 2000, 0.05)


def test_compare_takes_the_best_rival_in_the_metrics_direction() -> None:
    """The lowest mean perplexity, the highest overlap; positive is better."""
    worse, far = settings("lora", A), settings("multi_lora", np.add(A, 1).tolist())
    found = compare(settings("hycam", B), [far, worse], "ppl")
    assert (found.baseline, found.n_folds, found.reason) == ("lora", 5, None)
    assert found.difference == pytest.approx(np.mean(B) - np.mean(A))
    assert found.percent == pytest.approx(100 * (1 - np.mean(B) / np.mean(A)))
    assert found.effect == pytest.approx(effect_size(A, B)[0])
    assert (found.p, found.p_corrected_resampled) == (paired_t(A, B), corrected_resampled_t(A, B))
    assert found.interval == difference_interval(B, A)
    overlaps = [settings("lora", A, "bleu4"), settings("multi_lora", np.add(A, 1).tolist(), "bleu4")]
    higher = compare(settings("hycam", B, "bleu4"), overlaps, "bleu4")
    assert (higher.baseline, higher.is_improvement, higher.effect < 0) == ("multi_lora", False, True)


def test_seeds_are_averaged_within_a_fold_before_it_is_paired() -> None:
    """Two seeds of each fold count as their mean: the comparison is that of the means, with five differences."""

    def seeded(method: str, values: list[float]) -> SelectedRow:
        made = [record(f, v + d, method, seed=s) for f, v in enumerate(values) for s, d in ((f, -0.25), (10 + f, 0.25))]
        (row,) = rows_of(made)
        return row

    found = compare(seeded("hycam", B), [seeded("lora", A)], "ppl")
    assert found.n_folds == 5
    assert found.p_corrected_resampled == pytest.approx(corrected_resampled_t(A, B))
    assert found.interval == pytest.approx(difference_interval(B, A))


@pytest.mark.parametrize(
    ("ours", "lora", "reason"),
    [(B[:3], A, "hycam lacks folds 3, 4"), (B, A[:4], "lora lacks fold 4"),
     ([*B[:4], None], A, "hycam has no ppl of mean in fold 4"),
     (B, [None, *A[1:]], "lora has no ppl of mean in fold 0"),
     (np.add(A, 0.5), A, "the differences of the folds do not vary: there is nothing to test against"),
     (A, A, "the values of the folds are identical")],
)  # fmt: skip
def test_what_is_missing_is_said_and_has_no_star(ours: list[float], lora: list[float], reason: str) -> None:
    """A missing fold, a missing score or folds without spread: no star, and the reason."""
    (found,) = with_holm([compare(settings("hycam", ours), [settings("lora", lora)], "ppl")])
    assert found.reason == reason
    assert not found.star
    assert found.p == (1.0 if ours is lora else None)


def test_without_a_rival_there_is_nothing_to_compare() -> None:
    """The mean alone, and the reason."""
    found = compare(settings("hycam", B), [], "ppl")
    assert (found.baseline, found.p, found.reason) == (None, None, "no other PEFT row")
    assert found.mean == pytest.approx(np.mean(B))


def comparison(gain: float, p: float, corrected: float) -> Comparison:
    return Comparison(
        metric="ppl", task="mean", ours="hycam", baseline="lora", n_folds=5, difference=-gain, p=p,
        p_corrected_resampled=corrected,
    )  # fmt: skip


def test_star_needs_an_improvement_by_the_corrected_test_corrected_for_the_table() -> None:
    """Worse never; the paper's star looks at one column's plain p, and both have a contrary; before `with_holm` there
    is no star."""
    alone = comparison(1.0, 0.01, 0.02)
    assert (alone.star, alone.uncorrected_star) == (False, True)
    assert with_holm([alone])[0].star
    (worse,) = with_holm([dataclasses.replace(alone, difference=1.0)])
    assert (worse.star, worse.is_worse, with_holm([alone])[0].is_worse) == (False, True, False)
    assert (worse.uncorrected_star, worse.is_worse_uncorrected) == (False, True)
    assert not with_holm([dataclasses.replace(worse, p_corrected_resampled=None)])[0].is_worse
    assert not with_holm([comparison(1.0, 0.01, 0.06)])[0].star
    three = with_holm([alone, comparison(1.0, 0.5, 0.6), comparison(1.0, 0.6, 0.7)])
    assert three[0].p_corrected_holm == pytest.approx(0.06)
    assert (three[0].star, three[0].uncorrected_star) == (False, True)


def test_better_than_a_baseline_of_nothing_is_better() -> None:
    """No percentage of 0, and the star and its contrary nevertheless, by the difference."""
    nought = settings("lora", [0.0] * 5, "bleu4")
    (found,) = with_holm([compare(settings("hycam", B, "bleu4"), [nought], "bleu4")])
    assert (found.percent, found.is_improvement, found.star, found.is_worse) == (None, True, True, False)
    (other,) = with_holm([compare(nought, [settings("lora", B, "bleu4")], "bleu4")])
    assert (other.star, other.is_worse) == (False, True)


def assert_rate(found: float, n: int, expected: float) -> None:
    """The share of n draws is within bounds that an exact binomial of the expected rate leaves once in 100,000."""
    low, high = stats.binom.interval(1 - 1e-5, n, expected)
    assert low <= round(found * n) <= high, found


def at_most(found: float, n: int, expected: float) -> None:
    """The share of n draws is no higher than a rate of `expected` could give but once in 100,000."""
    assert round(found * n) <= stats.binom.ppf(1 - 1e-5, n, expected), found


@pytest.mark.parametrize("world", NULLS, ids=lambda world: world.name)
def test_where_nothing_is_better_a_table_has_a_star_in_at_most_5_percent(world: World) -> None:
    """After choosing the best baseline, over 1 or 15 columns, with folds or columns correlated, spreads unequal."""
    at_most(rates(world, 1000).star, 1000, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("world", NULLS, ids=lambda world: world.name)
def test_star_rates_of_many_tables(world: World) -> None:
    """Over 20,000 tables: ours in at most 5% everywhere; Holm's alone too, unless folds are correlated."""
    found = rates(world, 20_000, seed=1)
    at_most(found.star, 20_000, 0.05)
    if not world.correlation:
        at_most(found.plain, 20_000, 0.05)
    if world.baselines == 1 and not world.correlation:
        assert_rate(found.rejected, 20_000, 0.05)


def test_fixed_pair_is_rejected_in_5_percent() -> None:
    """By the plain test where folds are independent, by the corrected one where they share training data."""
    for correlation in (0.0, 1 / 8):
        world = World(name="", baselines=1, correlation=correlation)
        _, plain, corrected = p_of(scores(np.random.default_rng(2), world, 10_000))
        assert_rate(float(((corrected if correlation else plain) < 0.05).mean()), 10_000, 0.05)


def test_uncorrected_star_and_strong_correlation_do_go_above_5_percent() -> None:
    """What the documentation warns of: 15 uncorrected columns, and folds more alike than any test can know."""
    fixed = next(world for world in NULLS if world.columns == 15 and world.baselines == 1 and not world.correlation)
    assert rates(fixed, 500).uncorrected > 0.2
    assert rates(BEYOND, 500).star > 0.05


def test_power_is_that_of_the_noncentral_t() -> None:
    """Equal to scipy's where scipy has a value, the level without an effect, and 1 for large effects."""
    for effect, level in ((0.5, 0.05), (2.0, 0.05 / 15), (3.0, 0.01)):
        critical, shift = stats.t.ppf(1 - level / 2, 4), effect * math.sqrt(5)
        expected = stats.nct.sf(critical, 4, shift) + stats.nct.cdf(-critical, 4, shift)
        assert power(effect, level=level) == pytest.approx(expected, abs=1e-4)
    assert power(0.0) == pytest.approx(0.05, abs=1e-4)
    assert power(20.0) == pytest.approx(1.0)


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.0])
def test_power_is_what_simulation_finds(effect: float) -> None:
    """Both tests find a known shift as often as the noncentral t distribution says."""
    world = World(name="", baselines=1, shift=effect)
    _, plain, corrected = p_of(scores(np.random.default_rng(3), world, 10_000))
    assert_rate(float((plain < 0.05).mean()), 10_000, power(effect))
    # Five independent folds: the corrected test's critical value is wider by the same factor.
    wider = stats.t.ppf(0.975, 4) * math.sqrt((1 / 5 + 1 / 7) * 5)
    expected = stats.nct.sf(wider, 4, effect * math.sqrt(5)) + stats.nct.cdf(-wider, 4, effect * math.sqrt(5))
    assert_rate(float((corrected < 0.05).mean()), 10_000, expected)


def test_power_of_the_corrected_test_where_folds_are_correlated() -> None:
    """`power(test_share=...)` is in standard deviations of a difference within one cross-validation."""
    within = math.sqrt(1 - 1 / 8)
    world = World(name="", baselines=1, correlation=1 / 8, shift=2.0 * within)
    *_, corrected = p_of(scores(np.random.default_rng(4), world, 10_000))
    assert_rate(float((corrected < 0.05).mean()), 10_000, power(2.0, test_share=1 / 7))
    assert power(0.0, test_share=1 / 7) == pytest.approx(0.05, abs=1e-4)


def test_a_large_shift_in_every_column_is_starred() -> None:
    """Five folds find an improvement of 8 standard deviations against the best of three in nearly every table."""
    found = rates(World(name="", columns=15, shift=8.0), 200)
    assert found.star == 1.0
