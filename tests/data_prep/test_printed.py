"""Tables for people."""

import pytest

from data_prep.printed import cell, percent, table


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (1234567, "1,234,567"), (162.22, "162.22"), (1234.5, "1,234.50"), ("a", "a")],
)
def test_cell_says_what_it_is(value: object, text: str) -> None:
    """Numbers have separators, what is absent is a dash."""
    assert cell(value) == text


def test_percent_has_one_decimal() -> None:
    """A share is said in percent; none is a dash."""
    assert [percent(share) for share in (0.0, 0.1234, 1.0, None)] == ["0.0%", "12.3%", "100.0%", "-"]


def test_numbers_stand_right_and_words_left() -> None:
    """Columns are as wide as their widest cell."""
    assert table(["task", "n"], [["a", 5], ["long", 1000]]) == "task      n\n----  -----\na         5\nlong  1,000"
