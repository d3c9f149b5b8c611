"""CSV: a line a cell."""

import csv
import io
from dataclasses import replace

from hycam_exp.report.statistics.bootstrap import Resampled
from hycam_exp.report.statistics.significance import Comparison
from hycam_exp.report.tables.long_csv import FIELDS, csv_form
from hycam_exp.report.tables.table import Cell
from tests.report.toy import toy_table


def test_each_cell_is_a_line_with_its_numbers_in_full() -> None:
    """Absent is empty; the difference is ours - published."""
    rows = list(csv.DictReader(io.StringIO(csv_form(toy_table()))))
    assert len(rows) == 6
    assert list(rows[0]) == list(FIELDS)
    assert rows[2] == {
        "row": "HyCAM", "group": "A_1", "column": "PPL", "value": "1.5", "spread": "0.125", "folds": "5",
        "num_folds": "5", "mark": "best", "star": "yes", "star_uncorrected": "", "published": "2",
        "published_mark": "", "published_star": "", "difference": "-0.5", "difference_share": "-0.25",
        "is_mixed": "", "note": "", "command": "", **dict.fromkeys(FIELDS[-11:], ""),
    }  # fmt: skip
    assert FIELDS[-11] == "compared_with"
    assert rows[3]["is_mixed"] == "yes"
    assert (rows[5]["value"], rows[5]["folds"], rows[5]["command"]) == ("", "0", "run it")


def test_what_a_cell_is_compared_with_stands_behind_it() -> None:
    """The difference, its p by every test, the effect and the bootstrap, each with its interval; absent is empty."""
    comparison = Comparison(
        metric="ppl", task="mean", ours="hycam", baseline="lora", n_folds=5, difference=-0.5, p=0.01,
        p_corrected_resampled=0.02, p_corrected_holm=0.04, effect=1.5, effect_interval=(0.25, 2.5),
    )  # fmt: skip
    resampled = Resampled(difference=-0.5, interval=(-0.75, -0.25), share_better=1.0, groups=9)
    table = toy_table()
    bare = replace(comparison, effect=None, effect_interval=None)
    cells = [Cell(comparison=comparison, resampled=resampled), Cell(comparison=bare)]
    table = replace(table, rows=[replace(table.rows[0], cells=cells)])
    found = [[row[name] for name in FIELDS[-11:]] for row in csv.DictReader(io.StringIO(csv_form(table)))]
    assert found == [
        ["lora", "-0.5", "0.01", "0.02", "0.04", "1.5", "0.25", "2.5", "-0.75", "-0.25", "9"],
        ["lora", "-0.5", "0.01", "0.02", "0.04", *[""] * 6],
    ]
