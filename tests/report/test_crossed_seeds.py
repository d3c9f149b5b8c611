"""Two trainings of every fold, with the seeds f and 10 + f in fold f: each fold counts once in all of the report."""

from dataclasses import replace
from math import sqrt

import pytest
from scipy import stats

from hycam_exp.records.record import RunRecord
from hycam_exp.records.version import RESULTS_VERSION
from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.structure import _balance
from hycam_exp.report.figures import lines
from hycam_exp.report.statistics.significance import compare
from hycam_exp.report.tables.build import build
from hycam_exp.report.tables.table import Table, legend
from tests.report.claims.test_structure import routed
from tests.report.toy import known_experiments, records_of_grid, selection_of

OF_METHOD = {"full_ft": 2.5, "lora": 4.0, "lora_matched": 3.0, "multi_lora": 5.0, "riemoe_lora": 3.5, "hycam": 2.0}
OF_FOLD = [0.0, 0.0625, -0.0625, 0.125, 0.0]
"""What HyCAM is off its line."""
HYCAM = [2.0, 2.1875, 2.1875, 2.5, 2.5]
MATCHED = [3.0, 3.125, 3.25, 3.375, 3.5]


def ppl(method: str, fold: int, seed: int) -> float:
    """The mean of a fold's two seeds, f and 10 + f, is that of the lists above."""
    value = OF_METHOD[method] + fold / 8 + (OF_FOLD[fold] if method == "hycam" else 0.0)
    return value + (0.25 if seed < 10 else -0.25)


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return records_of_grid("mini", ppl, RESULTS_VERSION)


def mini(records: list[RunRecord]) -> Table:
    (table,) = [t for t in build(selection_of(records), known_experiments()).tables if t.name == "mini"]
    return table


def test_the_grid_has_crossed_seeds(records: list[RunRecord]) -> None:
    """Fold f has the seeds f and 10 + f, and shares none with another fold."""
    assert len(records) == 60
    found = {(r.config["fold"], r.config["seed"]) for r in records}
    assert found == {(fold, 10 * k + fold) for fold in range(5) for k in (0, 1)}


def test_a_mean_is_over_seeds_then_over_folds(records: list[RunRecord]) -> None:
    """Mean and sample standard deviation are of five numbers, in the row and in the table's cell."""
    (group,) = selection_of(records).groups
    assert group.ours is not None
    assert (group.ours.values("ppl"), group.ours.seeds, group.ours.further) == (HYCAM, (2,) * 5, ())
    cell = next(row for row in mini(records).rows if row.label == "HyCAM").cells[0]
    assert (cell.value, cell.folds) == (2.275, 5)
    assert cell.spread == pytest.approx(sqrt(sum((v - 2.275) ** 2 for v in HYCAM) / 4), rel=1e-12)


def test_a_star_is_of_five_differences(records: list[RunRecord]) -> None:
    """Against the best other PEFT row: t of the five folds' differences, with four degrees of freedom."""
    row = next(row for row in mini(records).rows if row.label == "HyCAM")
    found = row.cells[0].comparison
    assert found is not None
    assert (found.baseline, found.n_folds, found.difference) == ("lora_matched", 5, pytest.approx(-0.975))
    t, p = stats.ttest_rel(HYCAM, MATCHED)
    assert found.p == pytest.approx(p, rel=1e-9)
    corrected = 2 * stats.t.sf(abs(t) * sqrt((1 / 5) / (1 / 5 + 1 / 7)), 4)
    assert found.p_corrected_resampled == pytest.approx(corrected, rel=1e-9)
    assert row.cells[0].star
    rows = {of.method: of for of in selection_of(records).rows}
    alone = compare(rows["hycam"], [rows["lora_matched"]], "ppl")
    assert (alone.p, alone.interval) == (found.p, found.interval)


def test_the_caption_says_how_many_trainings_a_fold_has(records: list[RunRecord]) -> None:
    """And where a fold has fewer, from how many to how many; its mean is then of what there is, and noted."""
    start = "Means over folds, each of 2 trainings, \N{PLUS-MINUS SIGN} sample standard deviation over folds."
    facts = legend(mini(records))
    assert facts[0] == start
    assert "BLEU-4 and ROUGE-L rest on 3 test samples of a task and fold." in facts
    assert "Learning rates were chosen on the validation part of fold 0." in facts
    gone = [r for r in records if (r.config["method"]["name"], r.config["seed"]) != ("hycam", 14)]
    table = mini(gone)
    assert legend(table)[0] == start.replace("2 trainings", "1 to 2 trainings")
    row = next(row for row in table.rows if row.label == "HyCAM")
    assert row.cells[0].value == (2.0 + 2.1875 + 2.1875 + 2.5 + 2.75) / 5
    assert "HyCAM: seeds of its folds: 2, 2, 2, 2, 1" in table.notes


def test_further_seeds_of_one_fold_change_no_mean(records: list[RunRecord]) -> None:
    """Those of fold 0 that a figure over seeds needs stand aside."""
    first = [r for r in records if r.config["fold"] == r.config["seed"] == 0]
    more = [
        replace(r, run_id=f"{r.run_id}x{seed}", config={**r.config, "seed": seed}) for r in first for seed in (100, 200)
    ]
    assert mini([*records, *more]) == mini(records)


def test_figures_and_claims_are_over_folds_too(records: list[RunRecord]) -> None:
    """A figure's line has five points, and says of how many trainings; a claim has the table's number."""
    selection = selection_of(records)
    shown = {line.method: line for line in lines.scored(selection.rows)}
    assert shown["hycam"].values("ppl") == HYCAM
    assert lines.basis(list(shown.values())) == "5 folds of 2 trainings"
    (mix,) = gather(selection)
    assert mix.scoreboard().values["hycam", "tiny_llama", "ppl"] == 2.275


def test_a_module_that_dies_in_one_of_two_trainings_is_dead(records: list[RunRecord]) -> None:
    """The least used module of a fold is that of both its trainings, in whichever order they come."""
    even, dead = (routed(weights, [9]).routing for weights in ([[0.5, 0.5]], [[1.0, 0.0]]))
    hycam = [r for r in records if r.config["method"]["name"] == "hycam"]
    for seed in (0, 10):
        changed = [replace(r, routing=dead if r.config["seed"] == seed else even) for r in hycam]
        (mix,) = gather(selection_of(changed))
        found = _balance(mix.backbones[0])
        assert found.values == {"fold 0": 0.0, **{f"fold {fold}": 1.0 for fold in (1, 2, 3, 4)}}
