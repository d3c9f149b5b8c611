"""Markdown sign by sign, CSV a line a cell, and what is said under a table of its marks."""

import csv
import io
from dataclasses import replace

import pytest

from hycam_exp.report.statistics.bootstrap import Resampled
from hycam_exp.report.statistics.significance import Comparison
from hycam_exp.report.tables import table as table_module
from hycam_exp.report.tables.table import TableCell, compared, legend, published, signs
from hycam_exp.report.tables.text import FIELDS, contents, escape, long_csv, markdown
from tests.report.toy import toy_table

EXPECTED = r"""## A toy.

| Method | A\_1 PPL DOWN | A\_1 BLEU-4 UP |
| --- | ---: | ---: |
| LoRA & co | <u>2.000</u> PM 0.250 | <u>0.100</u>WORSE PM 0.010 |
| HyCAM | **1.500**\* PM 0.125 | **0.200**(\*)DAGGER |
| 100%\_new | 1.000 (3/5) | DASH |

So it came about. Best of a column bold, second best underlined, as printed. (k/5): the \
mean of k of 5 folds, not ranked, never starred. \*: better than the best other PEFT row, p \< 0.05 by the corrected \
resampled t-test over folds and Holm's correction over the table's columns. WORSE: worse than the best other PEFT row, \
p \< 0.05 by the corrected resampled t-test over folds and Holm's correction over the table's columns. (\*): better \
than the best other PEFT row, p \< 0.05 by the paired t-test over folds alone and without a correction, as in the \
paper. DAGGER: of runs that differ in more than their fold. DASH: no value.

- x \< y \| z
- what is missing: `make toy`
""".replace("\\\n", "")  # fmt: skip
SIGNS = {
    "DOWN": "\N{DOWNWARDS ARROW}", "UP": "\N{UPWARDS ARROW}", "PM": "\N{PLUS-MINUS SIGN}",
    "DAGGER": "\N{DAGGER}", "DASH": "\N{EN DASH}", "WORSE": "\N{BLACK DOWN-POINTING TRIANGLE}",
}  # fmt: skip


def test_a_table_is_exactly_this() -> None:
    """Marks, stars, spreads, folds, the legend of what occurs, notes, and the command for what is missing."""
    expected = EXPECTED
    for name, sign in SIGNS.items():
        expected = expected.replace(name, sign)
    assert markdown(toy_table()) == expected


def test_a_page_holds_the_forms_below_each_other() -> None:
    """Sections are lines of their own; the paper's star is explained as the paper's; ours are not its facts."""
    text = contents(toy_table())["toy.md"]
    assert text.count("## A toy.") == 3
    assert "| **A\\_1** |" in text
    assert "-0.500 (-25.0%)" in text
    assert "So it came about." not in markdown(published(toy_table()))
    assert "So it came about." in markdown(compared(toy_table()))


def test_no_text_can_break_a_table() -> None:
    """Pipes, stars, lines and tags are escaped."""
    assert escape("a|b*c_d`e<f>\n[g]\\") == r"a\|b\*c\_d\`e\<f\> \[g\]\\"


def test_worse_is_marked_as_visibly_as_better() -> None:
    """Each with a sign, in brackets where it holds without the corrections alone, and a sentence."""
    down = SIGNS["WORSE"]
    assert signs(TableCell(star=True, star_uncorrected=True)) == "*"
    assert signs(TableCell(worse=True, worse_uncorrected=True)) == down
    assert [signs(TableCell(star_uncorrected=True)), signs(TableCell(worse_uncorrected=True))] == ["(*)", f"({down})"]
    row = replace(toy_table().rows[0], cells=[TableCell(worse_uncorrected=True, value=1.0)] * 2)
    assert any(s.startswith(f"({down}): worse") for s in legend(replace(toy_table(), rows=[row])))


def test_the_number_of_folds_is_that_of_the_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said nowhere a second time."""
    monkeypatch.setattr(table_module, "NUM_FOLDS", 7)
    assert "(k/7): the mean of k of 7 folds, not ranked, never starred." in legend(toy_table())


def test_each_cell_is_a_line_with_its_numbers_in_full() -> None:
    """Absent is empty; the difference is ours - published."""
    rows = list(csv.DictReader(io.StringIO(long_csv(toy_table()))))
    assert len(rows) == 6
    assert list(rows[0]) == list(FIELDS)
    assert rows[2] == {
        "row": "HyCAM", "group": "A_1", "column": "PPL", "value": "1.5", "spread": "0.125", "folds": "5",
        "num_folds": "5", "mark": "best", "star": "yes", "star_uncorrected": "", "worse": "", "worse_uncorrected": "",
        "published": "2", "published_mark": "", "published_star": "", "difference": "-0.5",
        "difference_share": "-0.25", "is_mixed": "", "note": "", "command": "", **dict.fromkeys(COMPARED, ""),
    }  # fmt: skip
    assert (rows[1]["worse"], rows[3]["is_mixed"]) == ("yes", "yes")
    assert (rows[5]["value"], rows[5]["folds"], rows[5]["command"]) == ("", "0", "run it")


COMPARED = FIELDS[FIELDS.index("compared_with") :]


def test_what_a_cell_is_compared_with_stands_behind_it() -> None:
    """The difference, its p by every test, d_z and the bootstrap, each with its interval; absent is empty."""
    comparison = Comparison(
        metric="ppl", task="mean", ours="hycam", baseline="lora", n_folds=5, difference=-0.5, interval=(-0.75, -0.25),
        p=0.01, p_corrected_resampled=0.02, p_corrected_holm=0.04, effect=1.5, effect_interval=(0.25, 2.5),
    )  # fmt: skip
    resampled = Resampled(difference=-0.5, interval=(-0.625, -0.375), share_better=1.0, groups=9)
    table = toy_table()
    bare = replace(comparison, interval=None, effect=None, effect_interval=None)
    cells = [TableCell().compared_with(comparison, resampled), TableCell().compared_with(bare, None)]
    assert (cells[0].star, cells[0].star_uncorrected, cells[0].worse) == (True, True, False)
    table = replace(table, rows=[replace(table.rows[0], cells=cells)])
    found = [[row[name] for name in COMPARED] for row in csv.DictReader(io.StringIO(long_csv(table)))]
    assert found == [
        ["lora", "-0.5", "-0.75", "-0.25", "0.01", "0.02", "0.04", "1.5", "0.25", "2.5", "-0.625", "-0.375", "9"],
        ["lora", "-0.5", "", "", "0.01", "0.02", "0.04", *[""] * 6],
    ]
