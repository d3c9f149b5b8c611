"""Which rows may speak for the paper's claims, and who is better."""

import dataclasses
from collections.abc import Sequence

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.report import titles
from hycam_exp.report.claims.evidence import BASELINES, PEFT_BASELINES, Evidence, Scoreboard, gather
from hycam_exp.report.select import OURS, SelectedRow
from tests.report.conftest import MINI, mini_records, mini_row, unclipped
from tests.report.toy import selection_of

BOARD = Scoreboard(
    {
        ("lora", "x", "ppl"): 4.0, ("lora (a=1)", "x", "ppl"): 5.0, ("full_ft", "x", "ppl"): 2.0,
        ("hycam", "x", "ppl"): 3.0, ("lora", "x", "bleu4"): 0.2, ("hycam", "x", "bleu4"): 0.3,
        ("hycam", "y", "bleu4"): 0.1, ("full_ft", "x", "bleu4"): 0.3,
    }
)  # fmt: skip


def evidence_of(records: Sequence[RunRecord]) -> list[Evidence]:
    """What records say, with the figures of the committed study."""
    return gather(selection_of(records, MINI))


def of(*methods: str) -> list[RunRecord]:
    """The committed records of methods as their YAML sets them."""
    return [run.record for method in methods for run in mini_row(method).runs]


def with_config(records: Sequence[RunRecord], **method: object) -> list[RunRecord]:
    """The same records as if other fields of the method had been set."""
    return [dataclasses.replace(r, config={**r.config, "method": {**r.config["method"], **method}}) for r in records]


def test_the_papers_baselines() -> None:
    """Four, of which full fine-tuning is no PEFT."""
    assert BASELINES == ("full_ft", "lora", "multi_lora", "riemoe_lora")
    assert PEFT_BASELINES == ("lora", "multi_lora", "riemoe_lora")


def test_the_committed_records_are_one_data_mix() -> None:
    """Labelled as the mini set with its backbone and folds; every baseline in every variant has its scores."""
    (mix,) = evidence_of([*mini_records(), *unclipped(of("riemoe_lora"))])
    assert mix.setting == "the mini set; tiny_llama; 5 of 5 folds"
    board = mix.scoreboard()
    assert board.values[OURS, "tiny_llama", "ppl"] == mini_row(OURS).mean("ppl")
    assert sorted(board.scores("tiny_llama", "ppl", ["riemoe_lora"])) == [
        "riemoe_lora", "riemoe_lora (recipe.clip=null)",
    ]  # fmt: skip
    (tasks,) = mix.tasks()
    assert tasks.columns == sorted(titles.MINI_TASKS)
    assert tasks.values[OURS, "mini_code", "bleu4"] == mini_row(OURS).mean("bleu4", "mini_code")


def test_hycam_is_as_its_yaml_sets_it_of_any_rank() -> None:
    """A sweep's other values do not speak for HyCAM; another rank does, and is named."""
    assert evidence_of([*with_config(of(OURS), num_specialized=3), *of("lora")]) == []
    (mix,) = evidence_of([*with_config(of(OURS), rank=4), *of("lora")])
    assert mix.setting.endswith("; HyCAM as method.rank=4")


def test_incomplete_or_other_records_are_left_out() -> None:
    """A baseline without all folds is named; one that was tested on other records is not compared."""
    (mix,) = evidence_of([*of(OURS, "full_ft"), *of("lora")[:3]])
    assert mix.setting.endswith("left out for missing folds: lora on tiny_llama")
    assert [row.method for row in mix.backbones[0].others] == ["full_ft"]
    other = [dataclasses.replace(r, data=dataclasses.replace(r.data, split="other")) for r in of("lora")]
    (mix,) = evidence_of([*of(OURS, "full_ft"), *other])
    assert [row.method for row in mix.backbones[0].others] == ["full_ft"]


def test_records_without_test_scores_are_no_rivals() -> None:
    """A search for learning rates tests nothing: it neither competes nor is named as left out."""
    search = [
        dataclasses.replace(
            r, run_id=f"{r.run_id}-s", scores=[],
            config={**r.config, "recipe": {**r.config["recipe"], "learning_rate": 9.0}},
        )
        for r in of("lora")
    ]  # fmt: skip
    for some in (search, search[:1]):
        (mix,) = evidence_of([*of(OURS, "lora"), *some])
        assert [row.label for row in mix.backbones[0].others] == ["lora"]
        assert "left out" not in mix.setting


def test_other_seeds_of_a_fold_change_nothing() -> None:
    """Runs of one fold for a figure over seeds are neither compared nor named as incomplete."""
    seeded = [
        dataclasses.replace(r, run_id=f"{r.run_id}-{seed}", config={**r.config, "seed": seed}, scores=[])
        for seed in (100, 200)
        for r in of("lora")[:1]
    ]
    (mix,) = evidence_of([*of(OURS, "lora"), *seeded])
    (lora,) = mix.backbones[0].others
    assert [run.id for run in lora.runs] == [r.run_id for r in of("lora")]
    assert "left out" not in mix.setting


def test_of_several_variants_that_stands_beside_hycam_which_is_as_its_yaml_sets_it() -> None:
    """Of RieMoE-LoRA the clipped one."""
    (mix,) = evidence_of(mini_records())
    (backbone,) = mix.backbones
    beside: dict[str, SelectedRow] = backbone.beside_hycam((OURS, *BASELINES))
    assert [row.label for row in beside.values()] == [OURS, *BASELINES]


def test_without_hycam_there_is_no_evidence() -> None:
    """Baselines alone say nothing of the paper's method."""
    assert evidence_of(of("lora")) == []
    assert evidence_of([]) == []


def test_improvement_is_in_percent_of_the_best_baseline() -> None:
    """Lower perplexity and higher overlap are positive; a variant of a method counts as the method; none is None."""
    assert BOARD.improvement("x", "ppl", ["lora"]) == 25.0
    assert BOARD.improvement("x", "ppl", ["lora", "full_ft"]) == -50.0
    assert BOARD.improvement("x", "bleu4", ["lora"]) == pytest.approx(50.0)
    assert BOARD.improvement("y", "bleu4", ["lora"]) is None
    assert BOARD.improvements(["lora"]) == {("x", "ppl"): 25.0, ("x", "bleu4"): pytest.approx(50.0)}


@pytest.mark.parametrize(("ours", "is_better"), [(0.1, True), (0.0, False)])
def test_of_nothing_there_is_no_percentage(ours: float, is_better: bool) -> None:
    """Where the best baseline is 0 nothing is divided by it; which is better is known nevertheless."""
    board = Scoreboard({("lora", "x", "bleu4"): 0.0, ("hycam", "x", "bleu4"): ours, ("hycam", "x", "ppl"): 2.0})
    assert board.improvement("x", "bleu4", ["lora"]) is None
    assert board.improvements(["lora"]) == {}
    assert board.better(["lora"]) == {("x", "bleu4"): is_better}
    assert board.better(["full_ft"]) == {}


def test_rounding_moves_all_values_against_each_other() -> None:
    """With the error ours is better and the baselines are worse by it; with its negative the other way."""
    assert BOARD.improvement("x", "ppl", ["lora"], 0.5) == pytest.approx(100 * (1 - 2.5 / 4.5))
    assert BOARD.improvement("x", "bleu4", ["lora"], -0.1) == pytest.approx(100 * (0.2 / 0.3 - 1))


def test_equal_values_share_a_place() -> None:
    """And the next value has the next place; what digits behind them could make of it is a range of places."""
    assert [BOARD.place(method, "x", "bleu4") for method in ("hycam", "full_ft", "lora")] == [1, 1, 2]
    assert [BOARD.places(method, "x", "bleu4") for method in ("hycam", "full_ft", "lora")] == [(1, 2), (1, 2), (3, 3)]
    assert [BOARD.place(method, "x", "ppl") for method in ("full_ft", "hycam", "lora")] == [1, 2, 3]
    assert (BOARD.columns, BOARD.of_column("y").cells) == (["x", "y"], [("y", "bleu4")])
