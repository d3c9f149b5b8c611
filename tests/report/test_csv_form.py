"""CSV: a line a cell."""

import csv
import io

from hycam_exp.report.csv_form import FIELDS, csv_form
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
        "is_mixed": "", "note": "", "command": "",
    }  # fmt: skip
    assert rows[3]["is_mixed"] == "yes"
    assert (rows[5]["value"], rows[5]["folds"], rows[5]["command"]) == ("", "0", "run it")
