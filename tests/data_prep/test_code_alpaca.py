"""CodeAlpaca rows: two ways to say that there is no input."""

import pytest

from data_prep.code_alpaca import fields
from data_prep.conversion import Fields

ROW = {"instruction": "Print 1.", "input": "", "output": "print(1)\n"}


@pytest.mark.parametrize("input", ["", "< noinput >", " < noinput >\n", None])
def test_no_input_is_empty(input: str | None) -> None:
    """An empty input, a missing one, and the literal "< noinput >" are the same record."""
    assert fields({**ROW, "input": input}) == Fields(instruction="Print 1.", input="", output="print(1)\n")


@pytest.mark.parametrize("input", ["x = 1", "<noinput>", "the input is < noinput >", "noinput"])
def test_other_inputs_stay(input: str) -> None:
    """Only exactly that literal means no input."""
    assert fields({**ROW, "input": input}).input == input


def test_output_that_is_the_literal_stays() -> None:
    """The literal stands for no input only: as an output it is text."""
    assert fields({**ROW, "output": "< noinput >"}).output == "< noinput >"


@pytest.mark.parametrize(("field", "reason"), [("instruction", "empty instruction"), ("output", "empty output")])
def test_broken_row_is_refused(field: str, reason: str) -> None:
    """A row without instruction or output says so."""
    with pytest.raises(ValueError, match=reason):
        fields({**ROW, field: "  "})
