"""Cells, marks, and the three forms of a table."""

from dataclasses import replace

import pytest

from hycam_exp.report.tables.table import Column, Table, TableCell, TableRow, compared, marked, published
from tests.report.toy import toy_table


def one_column(values: list[float | None], better: str = "lower", folds: int = 5) -> Table:
    rows = [TableRow(label=str(i), cells=[TableCell(value=v, folds=5, num_folds=5)]) for i, v in enumerate(values)]
    rows[0] = replace(rows[0], cells=[replace(rows[0].cells[0], folds=folds)])
    return Table(name="t", title="", corner="", columns=[Column(group="", name="PPL", better=better)], rows=rows)


@pytest.mark.parametrize(
    ("values", "better", "marks"),
    [
        ([3.0, 1.0, 2.0], "lower", [None, "best", "second"]),
        ([3.0, 1.0, 2.0], "higher", ["best", None, "second"]),
        ([1.0, 1.0004, 2.0, 3.0], "lower", ["best", "best", "second", None]),
        ([1.0, None, 2.0], "lower", ["best", None, "second"]),
        ([1.0, 1.0, 1.0], "lower", [None, None, None]),
        ([1.0], "lower", [None]),
        ([1.0, 2.0], "none", [None, None]),
    ],
)
def test_marks_follow_the_direction_as_printed(values: list[float | None], better: str, marks: list[str]) -> None:
    """Values that print alike share a mark; one value, or one direction for none, has no best."""
    assert [row.cells[0].mark for row in marked(one_column(values, better)).rows] == marks


def test_a_mean_of_some_folds_is_not_ranked() -> None:
    """Its folds may have been the easy ones."""
    table = marked(one_column([0.5, 1.0, 2.0], folds=3))
    assert [row.cells[0].mark for row in table.rows] == [None, "best", "second"]


def test_the_difference_is_ours_minus_published() -> None:
    """Its share is of the published value; without either there is none."""
    cell = TableCell(value=1.5, published=2.0)
    assert (cell.difference, cell.difference_share) == (-0.5, -0.25)
    for other in (TableCell(value=1.5), TableCell(published=2.0), TableCell(value="a", published="b")):
        assert (other.difference, other.difference_share) == (None, None)
    assert TableCell(value=1.0, published=0.0).difference_share is None


def test_the_published_form_holds_the_papers_values_and_marks() -> None:
    """And nothing of ours, no notes either."""
    table = published(toy_table())
    assert [[cell.value for cell in row.cells] for row in table.rows] == [[1.6, None], [2.0, None], [1.0, None]]
    assert table.rows[0].cells[0].mark == "best"
    assert (table.name, table.notes) == ("toy_published", ())


def test_the_compared_form_has_three_columns_a_score() -> None:
    """Ours, published, difference; a section for each group."""
    table = compared(toy_table())
    assert [(c.group, c.name) for c in table.columns][:3] == [
        ("PPL \N{DOWNWARDS ARROW}", name) for name in ("ours", "published", "difference")
    ]
    assert {row.section for row in table.rows} == {"A_1"}
    assert [cell.value for cell in table.rows[1].cells] == [1.5, 2.0, "-0.500 (-25.0%)", 0.2, None, None]


def test_groups_are_counted_in_order() -> None:
    """Neighbours of one group stand under one heading."""
    assert toy_table().groups == [("A_1", 2)]
    assert not toy_table().is_whole
