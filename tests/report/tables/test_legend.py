"""What is said under a table of its marks."""

import pytest

from hycam_exp.report.tables import legend as legend_module
from hycam_exp.report.tables.legend import legend
from tests.report.toy import toy_table


def test_a_star_is_both_tests_and_the_papers_one() -> None:
    """As docs/statistics.md defines them: ours by the paired and the corrected test after Holm, the paper's by one."""
    (ours,) = [sentence for sentence in legend(toy_table()) if sentence.startswith("*:")]
    (papers,) = [sentence for sentence in legend(toy_table()) if sentence.startswith("(*):")]
    for word in ("Holm", "both", "paired t-test", "corrected resampled one, which decides"):
        assert word in ours
    assert "paired t-test over folds alone and without a correction" in papers


def test_the_number_of_folds_is_that_of_the_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said nowhere a second time."""
    monkeypatch.setattr(legend_module, "NUM_FOLDS", 7)
    assert "(k/7): the mean of k of 7 folds, not ranked, never starred." in legend(toy_table())
