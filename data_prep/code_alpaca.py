"""CodeAlpaca rows (instruction, input, output): an instruction to code. Standard library only."""

from dataclasses import replace
from typing import Any

from data_prep import auto_cot
from data_prep.conversion import Fields, Task

NO_INPUT = "< noinput >"


def fields(row: Any) -> Fields:
    """The row's three fields; "" and "< noinput >" both mean no input."""
    read = auto_cot.fields(row)
    return replace(read, input="") if read.input.strip() == NO_INPUT else read


TASK = Task(
    domain="code generation",
    source="Chaudhary, 2023",
    hub_id="sahil2801/CodeAlpaca-20k",
    folders=("codealpaca", "codealpaca20k"),
    fields=fields,
)
