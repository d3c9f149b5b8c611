"""Which records stand in a row: never those of differing recipe, data, split or code, unless the user allows it."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from hycam_exp.report import setting
from hycam_exp.report.experiments import Expected
from hycam_exp.report.match import Match, match, same_splits, variants
from hycam_exp.report.select import summarise
from hycam_exp.runs import RunRecord
from tests.report.toy import record


def expected(method: str = "lora") -> Expected:
    config = record(0, 1.0, method).config
    return Expected("toy", (f"method={method}",), ("m", method, "mini"), lambda _: setting.decisive(config, None))


def matched(records: list[RunRecord], allow_mixed: bool = False) -> Match:
    return match(expected(), summarise(records), allow_mixed)


def folds(found: Match) -> tuple[int, ...]:
    return found.summary.folds if found.summary else ()


def changed(one: RunRecord, part: str, **values: Any) -> RunRecord:
    return replace(one, **{part: asdict(one)[part] | values})


def test_records_of_the_experiments_setting_are_a_row() -> None:
    """In order of their folds, and no others."""
    found = matched([record(fold, 1.0) for fold in (2, 0, 1)] + [record(3, 1.0, method="hycam")])
    assert folds(found) == (0, 1, 2)
    assert (found.refused, found.note, found.mixed) == (None, None, None)
    assert folds(matched([])) == ()


def test_two_codes_in_one_row_are_refused() -> None:
    """With versions and folds; allowed, they are one row that says so."""
    records = [record(0, 1.0), record(1, 1.0), record(2, 1.0, version=2)]
    assert (matched(records).summary, matched(records).refused) == (None, "results version: 1 (folds 0, 1), 2 (fold 2)")
    allowed = matched(records, allow_mixed=True)
    assert (folds(allowed), allowed.mixed) == ((0, 1, 2), "results version: 1 (folds 0, 1), 2 (fold 2)")


def test_two_contents_of_data_in_one_row_are_refused() -> None:
    """The same mix by name is not the same data."""
    other = changed(record(1, 1.0), "data", content="other")
    found = matched([record(0, 1.0), other])
    assert (found.summary, found.refused) == (None, "data content: c (fold 0), other (fold 1)")


def test_another_recipe_does_not_fill_a_gap() -> None:
    """It is refused by name while the experiment's own folds stand; allowed, it fills the gap, marked."""
    records = [record(0, 1.0), record(1, 2.0, clip=None), record(0, 2.0, clip=None)]
    found = matched(records)
    assert (folds(found), found.refused) == ((0,), "fold 1 with recipe.clip=null")
    allowed = matched(records, allow_mixed=True)
    assert (folds(allowed), allowed.mixed) == ((0, 1), "fold 1 with recipe.clip=null")
    assert allowed.summary is not None
    assert allowed.summary.values("ppl") == [1.0, 2.0]


def test_a_row_of_another_recipe_alone_is_noted() -> None:
    """It is no part of the experiment, and nothing is mixed."""
    found = matched([record(0, 1.0, clip=None)])
    assert (found.summary, found.refused, found.note) == (None, None, "not mixed in: fold 0 with recipe.clip=null")


def test_a_whole_row_is_not_disturbed_by_other_settings() -> None:
    """Another recipe is then a variant of its own."""
    records = [record(fold, 1.0) for fold in range(5)] + [record(0, 2.0, clip=None)]
    found = matched(records)
    assert (folds(found), found.refused, found.note) == ((0, 1, 2, 3, 4), None, None)
    (variant,) = variants(expected(), summarise(records))
    assert (variant.variant, folds(variant), variant.place) == (
        "recipe.clip=null", (0,), "m x lora x mini (recipe.clip=null)",
    )  # fmt: skip


def test_settings_of_one_variant_are_one_row() -> None:
    """Two that differ in what is measured before adaptation share a name: a record a fold, and the other is noted."""
    aside = [
        replace(record(fold, 2.0, clip=None, evaluation={"compare_single": 9}), run_id=f"a{fold}") for fold in (0, 2)
    ]
    own = [record(fold, 1.0, clip=None) for fold in (0, 1)]
    (found,) = variants(expected(), summarise([*aside, *own]))
    assert (found.variant, folds(found), found.refused) == ("recipe.clip=null", (0, 1, 2), None)
    assert found.summary is not None
    assert found.summary.values("ppl") == [1.0, 1.0, 2.0]
    assert found.note == "also run, and not in the row: fold 0 with evaluation.compare_single=9"
    other = changed(record(3, 1.0, clip=None), "data", content="other")
    (refused,) = variants(expected(), summarise([*own, other]))
    assert (refused.summary, refused.refused) == (None, "data content: c (folds 0, 1), other (fold 3)")


@pytest.mark.parametrize("allow", [False, True])
def test_a_row_of_another_split_is_refused(allow: bool) -> None:
    """Against what most rows of the table have in that fold; without a majority both are."""
    rows = [
        match(expected(name), summarise([record(0, 1.0, name, split=split)]), False)
        for name, split in (("lora", "s"), ("multi_lora", "s"), ("hycam", "t"))
    ]
    text = "split digest of fold 0: t0, in other rows s0"
    found = same_splits(rows, allow)
    assert [m.refused for m in found] == [None, None, None if allow else text]
    assert [m.mixed for m in found] == [None, None, text if allow else None]
    assert [m.summary is None for m in found] == [False, False, not allow]
    assert [m.summary is None for m in same_splits(rows[1:], allow)] == [not allow, not allow]


@pytest.mark.parametrize("allow", [False, True])
def test_a_row_of_other_data_is_refused(allow: bool) -> None:
    """Although its split is the same: its folds hold other texts."""
    rows = [
        match(expected(name), summarise([changed(record(0, 1.0, name), "data", content=content)]), False)
        for name, content in (("lora", "c"), ("multi_lora", "c"), ("hycam", "other"))
    ]
    text = "data content of fold 0: other, in other rows c"
    found = same_splits(rows, allow)
    assert [m.refused for m in found] == [None, None, None if allow else text]
    assert [m.mixed for m in found] == [None, None, text if allow else None]


@pytest.mark.parametrize("name", setting.ASIDE)
@pytest.mark.parametrize("allow", [False, True])
def test_of_a_fold_run_twice_the_experiments_own_stands(allow: bool, name: str) -> None:
    """Two records that differ in what is measured before adaptation are one fold; the other one is named."""
    own = [record(fold, 1.0) for fold in (0, 1)]
    group, field = name.split(".")
    values = {group: {**own[0].config.get(group, {}), field: 10}}
    more = [replace(record(fold, 1.0, **values), run_id=f"a{fold}") for fold in (0, 1, 2)]
    found = matched([*more, *own], allow)
    assert folds(found) == (0, 1, 2)
    assert found.summary is not None
    assert [r.run_id for r in found.summary.records] == [own[0].run_id, own[1].run_id, "a2"]
    assert found.refused is None
    if not allow:
        assert found.note == f"also run, and not in the row: folds 0, 1 with {name}=10"
