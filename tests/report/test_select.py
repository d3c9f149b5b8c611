"""Summaries, of records that are made up."""

import pytest

from hycam_exp.report.select import Summary, summarise
from tests.report.toy import record


def test_cells_that_differ_in_their_fold_alone_are_one_setting() -> None:
    """Folds come in order whatever the records' order; places and unused learning rates set nothing apart."""
    other = record(2, 4.0, trainer={"name": "gpu"}, paths={"results": "y"})
    (summary,) = summarise([record(1, 3.0), record(0, 2.0), other])
    assert (summary.model, summary.data, summary.method, summary.variant) == ("m", "mini", "lora", "")
    assert summary.folds == (0, 1, 2)
    assert summary.values("ppl") == [2.0, 3.0, 4.0]
    assert (summary.mean("ppl"), summary.spread("ppl")) == (3.0, 1.0)
    assert not summary.is_complete
    assert summarise([record(fold, 1.0) for fold in range(5)])[0].is_complete


def test_settings_of_one_name_are_told_apart_by_what_differs() -> None:
    """The variant names the fields, and only those, in which the settings differ."""
    found = summarise([record(0, 2.0), record(0, 3.0, clip=None), record(0, 4.0, method="hycam")])
    assert [(s.method, s.variant) for s in found] == [
        ("hycam", ""), ("lora", "recipe.clip=1.0"), ("lora", "recipe.clip=null"),
    ]  # fmt: skip


def test_what_half_of_the_records_have_is_not_said() -> None:
    """The usual value of a field sets nothing apart; where two values are as usual, both are said."""
    many = [record(fold, 2.0) for fold in range(5)]
    few = [record(0, 2.0, seed=seed) for seed in (100, 200)]
    assert [s.variant for s in summarise([*many, *few])] == ["", "seed=100", "seed=200"]
    both = [*many, *(record(fold, 2.0, clip=None) for fold in range(5))]
    assert [s.variant for s in summarise(both)] == ["recipe.clip=1.0", "recipe.clip=null"]
    rare = [record(0, 2.0, seed=seed) for seed in (0, 0, 100, 200, 300)]
    assert [s.variant for s in summarise(rare)] == ["seed=0", "seed=100", "seed=200", "seed=300"]


@pytest.mark.parametrize(
    ("values", "mean", "spread"), [([2.0], 2.0, None), ([2.0, None], None, None), ([], None, None)]
)
def test_what_is_absent_is_none(values: list[float | None], mean: float | None, spread: float | None) -> None:
    """One fold has no spread, and a fold without a score leaves no mean: never averaged over silently."""
    records = tuple(record(fold, value) for fold, value in enumerate(values))
    summary = Summary(model="m", method="lora", data="mini", differing={}, records=records)
    assert (summary.mean("ppl"), summary.spread("ppl")) == (mean, spread)
