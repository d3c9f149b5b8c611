"""Tables in terminals of any width."""

import io
import itertools

import pytest
from rich.console import Console
from rich.table import Table

from hycam_exp.runtime import terminal

NUMBERS = ["1,234,567.891", "+- 0.042"]


def table(break_: str, name: str = "a_name_of_forty_letters_" + "x" * 16) -> Table:
    found = Table()
    found.add_column("name")
    terminal.numbers(found, "first", "second")
    found.add_row(name, break_.join(NUMBERS), break_.join(NUMBERS))
    return found


def shown(width: int) -> list[str]:
    stream = io.StringIO()
    terminal.show(Console(file=stream, width=width), table(" "), table("\n"))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 60, 80, 99, 100, 200])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    """Nor any letter of a name; what can fit into the terminal does."""
    lines = shown(width)
    text = "\n".join(lines)
    assert [text.count(number) for number in NUMBERS] == [2, 2]
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert sum(line.count("x") for line in lines) == 16
    assert all(len(line) <= max(width, 12 + 2 * 13 + 10) for line in lines)


def test_the_form_is_the_first_that_fits() -> None:
    """On one line where there is room for it, else with its line breaks."""
    assert any(" ".join(NUMBERS) in line for line in shown(200))
    assert not any(" ".join(NUMBERS) in line for line in shown(80))


ROW = ["a name", "another", "1,234,567.891", "+- 0.042", "12.5 GiB"]


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_a_narrow_form_has_the_same_cells(width: int) -> None:
    """Those of a group stand above each other in the order of their headings, whole; the wide form is a line a row."""
    stream = io.StringIO()
    groups = (("what", "which"), ("first", "second"), ("third",))
    forms = terminal.forms("A table", groups, groups[0], [ROW, ["b", "", "2", "3", "-"]])
    terminal.show(Console(file=stream, width=width), *forms)
    text = stream.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert all(cell in text for cell in [*ROW, *itertools.chain(*groups)])
    line = next(line for line in text.splitlines() if ROW[0] in line)
    wide = width >= 60
    assert [cell in line for cell in ROW] == [True, wide, True, wide, True]
