"""Auto-CoT rows: three fields as they are."""

from pathlib import Path
from typing import Any

import pytest

from data_prep import tables
from data_prep.auto_cot import fields
from data_prep.conversion import Fields


def test_fields_are_taken_as_they_are() -> None:
    """Instruction, input and output are the row's own."""
    row = {"instruction": " 2 + 2? ", "input": "", "output": "It is 4.\n", "source": "gsm8k"}
    assert fields(row) == Fields(instruction=" 2 + 2? ", input="", output="It is 4.\n")


@pytest.mark.parametrize("row", [{"input": None}, {}])
def test_input_may_be_missing(row: dict) -> None:
    """No input is an empty one."""
    assert fields({"instruction": "2 + 2?", "output": "4", **row}).input == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"instruction": ""}, "empty instruction"), ({"output": None}, "no output"), ({"input": 1}, "input is int")],
)
def test_broken_row_is_refused(change: dict[str, Any], reason: str) -> None:
    """A row without instruction or output, or with an input that is no text, says so."""
    with pytest.raises(ValueError, match=reason):
        fields({"instruction": "2 + 2?", "input": "", "output": "4", **change})


def test_every_real_row_is_converted(shared: Path) -> None:
    """All 5,816 rows of the authors' file have an instruction and an output, and no input."""
    found = [fields(row) for _, row in tables.rows(shared / "data" / "auto_cot" / "Auto-CoT.json")]
    assert len(found) == 5816
    assert {read.input for read in found} == {""}
