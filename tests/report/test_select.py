"""Which runs belong to a row: one rule, on records that are made up."""

from dataclasses import replace

import pytest

from hycam_exp.config.methods import METHODS
from hycam_exp.records.record import RunRecord
from hycam_exp.report import settings
from hycam_exp.report.select import SelectedRow, is_peft, over_seeds
from hycam_exp.report.titles import folds_text
from tests.report.conftest import mini_records, unclipped
from tests.report.toy import record, rows_of, selection_of


def places(row: SelectedRow) -> list[tuple[int, int]]:
    return [(run.fold, run.seed) for run in row.runs]


def test_runs_that_differ_in_fold_alone_are_one_row() -> None:
    """Folds come in order whatever the records' order; places and unused learning rates set nothing apart."""
    other = record(2, 4.0, trainer={"name": "gpu"}, paths={"results": "y"})
    (row,) = rows_of([record(1, 3.0), record(0, 2.0), other])
    assert (row.model, row.data, row.method, row.variant_text) == ("m", "mini", "lora", "")
    assert row.folds == (0, 1, 2)
    assert row.values("ppl") == [2.0, 3.0, 4.0]
    assert (row.mean("ppl"), row.spread("ppl"), row.is_complete) == (3.0, 1.0, False)
    assert rows_of([record(fold, 1.0) for fold in range(5)])[0].is_complete


@pytest.mark.parametrize(("values", "mean", "spread"), [([2.0], 2.0, None), ([2.0, None], None, None)])
def test_what_is_absent_is_none(values: list[float | None], mean: float | None, spread: float | None) -> None:
    """One fold has no spread, and a fold without a score leaves no mean: never averaged over silently."""
    (row,) = rows_of([record(fold, value) for fold, value in enumerate(values)])
    assert (row.mean("ppl"), row.spread("ppl"), row.is_scored) == (mean, spread, mean is not None)
    assert row.values("bleu4") == [None] * len(values)


def test_rows_are_told_apart_by_what_is_not_as_usual() -> None:
    """A method without a YAML file for its recipe is named by what most of its runs are not."""
    many = [record(fold, 2.0) for fold in range(5)]
    found = rows_of([*many, record(0, 3.0, clip=None), record(0, 4.0, method="hycam")])
    assert [(row.method, row.variant_text) for row in found] == [
        ("hycam", ""), ("lora", ""), ("lora", "recipe.clip=null"),
    ]  # fmt: skip
    both = rows_of([*many, *(record(fold, 2.0, clip=None) for fold in range(5))])
    assert [row.label for row in both] == ["lora (recipe.clip=1.0)", "lora (recipe.clip=null)"]


def test_a_committed_row_is_named_by_its_yaml_whatever_else_there_is() -> None:
    """Its clip is the recipe's, though as many runs have none; the other variant is named by what it sets."""
    riemoe = [r for r in mini_records() if r.config["method"]["name"] == "riemoe_lora"]
    without = unclipped(riemoe)
    assert [row.label for row in rows_of([*riemoe, *without])] == ["riemoe_lora", "riemoe_lora (recipe.clip=null)"]
    assert [row.label for row in rows_of(without)] == ["riemoe_lora (recipe.clip=null)"]


def test_a_field_that_no_yaml_file_has_sets_apart_too() -> None:
    """Two runs that differ in it are never one cell of a row, though one of them is named by it."""
    mini = [r for r in mini_records() if r.config["method"]["name"] == "hycam"]
    other = [
        replace(r, run_id=f"{r.run_id}-x", config={**r.config, "method": {**r.config["method"], "gone": 1}})
        for r in mini[:1]
    ]
    usual = [replace(r, config={**r.config, "method": {**r.config["method"], "gone": 0}}) for r in mini]
    assert [row.label for row in rows_of([*usual, *other])] == ["hycam", "hycam (method.gone=1)"]


def test_seeds_of_a_fold_are_averaged_before_folds() -> None:
    """Crossed seeds, 10 k + f: every fold counts once, whatever the seeds; a fold has the mean of its own."""
    records = [record(fold, 1.0 + fold + k, seed=10 * k + fold) for fold in range(5) for k in (0, 1)]
    (row,) = rows_of(records)
    assert places(row) == [(fold, 10 * k + fold) for fold in range(5) for k in (0, 1)]
    assert row.values("ppl") == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert (row.mean("ppl"), row.spread("ppl"), row.seeds) == (3.5, pytest.approx(2.5**0.5), (2,) * 5)


def test_a_row_has_as_many_seeds_of_a_fold_as_most_folds() -> None:
    """Further seeds of one fold, for a figure, stand aside: of them those stay that the other folds have."""
    grid = [record(fold, 1.0, seed=3) for fold in range(5)]
    more = [record(0, 9.0, seed=seed) for seed in (1, 100, 200)]
    (row,) = rows_of([*more, *grid])
    assert places(row) == [(fold, 3) for fold in range(5)]
    assert sorted(run.seed for run in row.further) == [1, 100, 200]
    assert row.mean("ppl") == 1.0
    half = [record(fold, 1.0, seed=10 * k + fold) for fold in range(5) for k in (0, 1) if (fold, k) != (4, 1)]
    assert rows_of(half)[0].seeds == (2, 2, 2, 2, 1)


def test_a_seed_of_one_fold_does_not_fill_a_gap_of_a_table() -> None:
    """Where a table's experiment says which seeds there are: fold 0 without its own is missing, whatever other seeds it
    has; a whole further repetition counts."""
    mini = [r for r in mini_records() if r.config["method"]["name"] == "lora"]

    def seeded(records: list[RunRecord], seed: int) -> list[RunRecord]:
        return [replace(r, run_id=f"{r.run_id}-{seed}", config={**r.config, "seed": seed}) for r in records]

    (row,) = rows_of([*mini[1:], *seeded(mini[:1], 100), *seeded(mini[:1], 200)])
    assert places(row) == [(fold, fold) for fold in (1, 2, 3, 4)]
    assert [run.seed for run in row.further] == [100, 200]
    (row,) = rows_of([*mini, *seeded(mini, 77), *seeded(mini[:1], 100)])
    assert places(row) == [(fold, seed) for fold in range(5) for seed in (fold, 77)]


@pytest.mark.parametrize("name", settings.ASIDE)
def test_of_a_cell_run_twice_one_counts(name: str) -> None:
    """Two runs that differ in what is measured before adaptation are one cell: that which is set like the others."""
    group, field = name.split(".")
    own = [record(fold, 1.0) for fold in (0, 1, 2)]
    values = {group: {**own[0].config.get(group, {}), field: 10}}
    again = [replace(record(fold, 1.0, **values), run_id=f"a{fold}") for fold in (0, 1)]
    (row,) = rows_of([*again, *own])
    assert [run.id for run in row.runs] == [r.run_id for r in own]
    assert {run.id for run in row.further} == {"a0", "a1"}


def test_over_seeds_is_of_the_fold_with_most_runs() -> None:
    """Seeds as if they were folds; a row with one seed there is left out."""
    records = [record(0, 1.0, seed=seed) for seed in (200, 100)] + [record(1, 1.0, seed=seed) for seed in (1, 2, 3)]
    lora = [record(fold, 1.0, "hycam", seed=seed) for fold, seed in ((0, 4), (0, 5), (1, 6), (0, 7))]
    found = {row.method: places(row) for row in over_seeds(rows_of([*records, *lora]))}
    assert found == {"hycam": [(0, 4), (0, 5), (0, 7)], "lora": [(0, 100), (0, 200)]}
    assert over_seeds(rows_of([record(0, 1.0), record(1, 1.0)])) == []


def test_other_data_stand_in_no_row_beside_the_usual_ones() -> None:
    """The same mix by name is not the same data: the fewer are left out of everything, and named."""
    one = record(1, 1.0)
    of_other_data = replace(one, data=replace(one.data, content="other-data"))
    found = selection_of([record(0, 1.0), of_other_data, record(2, 1.0)])
    (row,) = found.rows
    assert row.folds == (0, 2)
    assert [str(problem) for problem in found.problems] == [
        "m x lora x mini: left out: fold 1 of other records (data content other-da, most runs' is c)"
    ]


def test_another_split_of_a_fold_stands_in_no_row() -> None:
    """In each fold what most runs have counts, for all methods together."""
    records = [record(0, 1.0, name, split=split) for name, split in (("lora", "s"), ("full_ft", "s"), ("hycam", "t"))]
    found = selection_of(records)
    assert [row.method for row in found.rows] == ["full_ft", "lora"]
    assert [str(problem) for problem in found.problems] == [
        "m x hycam x mini: left out: fold 0 of other records (split of fold 0 t0, most runs' is s0)"
    ]


def test_weights_from_elsewhere_stand_in_no_row_beside_the_others() -> None:
    """A copy of a hub's backbone in a folder may be another one: what fewer runs read is left out, and named."""
    model = {"name": "m", "hub_id": "o/m", "source": "hub"}
    hub = [record(fold, 1.0, model=model) for fold in (0, 1)]
    found = selection_of([*hub, record(2, 1.0, model={**model, "source": "folder"})])
    assert [row.folds for row in found.rows] == [(0, 1)]
    assert [problem.reason for problem in found.problems] == [
        "left out: fold 2 of other records (weights folder, most runs' is hub)"
    ]


def test_what_is_run_on_other_records_is_a_group_of_its_own() -> None:
    """Methods are compared on the data and evaluation that most runs share, or that a table asks for; the others are
    named, and in no figure, claim or statistic."""
    grid = [record(fold, 1.0, name) for name in ("lora", "hycam") for fold in (0, 1)]
    stray = record(0, 1.0, "full_ft", data={"name": "mini", "root": None, "max_per_task": 20})
    found = selection_of([*grid, stray])
    assert [row.method for row in found.main["m-mini"].rows] == ["hycam", "lora"]
    assert [row.method for row in found.beside] == ["full_ft"]


def test_the_group_that_a_table_asks_for_is_the_main_one() -> None:
    """However many runs another setting has, so that figures and claims show the HyCAM of the tables."""
    mini = [r for r in mini_records() if r.config["method"]["name"] == "hycam"]
    config = {**mini[0].config, "data": {**mini[0].config["data"], "max_per_task": 300}}
    bare = [
        replace(
            mini[0], run_id=f"bare{seed}", config={**config, "seed": seed}, data=replace(mini[0].data, split="other")
        )
        for seed in range(9)
    ]
    found = selection_of([*mini, *bare])
    assert sorted(len(group.runs) for group in found.groups) == [5, 9]
    assert found.main["tiny_llama-mini"].is_asked_for
    assert found.main["tiny_llama-mini"].ours is not None
    assert found.main["tiny_llama-mini"].ours.folds == (0, 1, 2, 3, 4)


def test_every_mix_is_a_group_of_its_own() -> None:
    """Backbones and data mixes are never compared."""
    found = selection_of([record(0, 1.0, data={"name": name}) for name in "ba"])
    assert list(found.main) == ["m-a", "m-b"]


def test_ours_is_hycam_as_its_yaml_sets_it() -> None:
    """Of a sweep's values none is ours; of ranks that of the YAML, else another; with fewer folds, too."""
    mini = [r for r in mini_records() if r.config["method"]["name"] == "hycam"]

    def of(records: list[RunRecord], tag: str, **method: object) -> list[RunRecord]:
        return [
            replace(r, run_id=f"{r.run_id}-{tag}", config={**r.config, "method": {**r.config["method"], **method}})
            for r in records
        ]

    swept, ranked = of(mini, "n", num_specialized=3), of(mini, "r", rank=4)
    (group,) = selection_of([*mini[:2], *swept, *ranked]).groups
    assert group.ours is not None
    assert (group.ours.label, group.ours.folds) == ("hycam", (0, 1))
    (group,) = selection_of([*swept, *ranked]).groups
    assert group.ours is not None
    assert group.ours.label == "hycam (method.rank=4)"
    assert selection_of(swept).groups[0].ours is None


def test_full_fine_tuning_alone_is_no_peft() -> None:
    """A method that is no longer there is taken to be one."""
    assert {name for name in METHODS if not is_peft(name)} == {"full_ft"}
    assert is_peft("gone")


def test_folds_in_words() -> None:
    """One, several, each once."""
    assert (folds_text([3]), folds_text([1, 0, 1])) == ("fold 3", "folds 0, 1")
