"""Who is better, from values by hand."""

import pytest

from hycam_exp.report.claims.scoreboard import Scoreboard

BOARD = Scoreboard(
    {
        ("lora", "x", "ppl"): 4.0, ("lora (a=1)", "x", "ppl"): 5.0, ("full_ft", "x", "ppl"): 2.0,
        ("hycam", "x", "ppl"): 3.0, ("lora", "x", "bleu4"): 0.2, ("hycam", "x", "bleu4"): 0.3,
        ("hycam", "y", "bleu4"): 0.1, ("full_ft", "x", "bleu4"): 0.3,
    }
)  # fmt: skip


def test_improvement_is_in_percent_of_the_best_baseline() -> None:
    """Lower perplexity and higher overlap are positive; a setting of a method counts as the method; none is None."""
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
    """And the next value has the next place."""
    places = [BOARD.place(method, "x", "bleu4") for method in ("hycam", "full_ft", "lora")]
    assert places == [1, 1, 2]
    assert [BOARD.place(method, "x", "ppl") for method in ("full_ft", "hycam", "lora")] == [1, 2, 3]
    assert (BOARD.columns, BOARD.of_column("y").cells) == (["x", "y"], [("y", "bleu4")])
