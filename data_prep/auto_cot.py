"""Auto-CoT rows (instruction, input, output): step-by-step arithmetic and logic. Standard library only."""

from typing import Any

from data_prep.conversion import Fields, Task, mapping_of, text_of


def fields(row: Any) -> Fields:
    """The row's instruction, input and output as they are."""
    row = mapping_of(row)
    return Fields(
        instruction=text_of(row, "instruction"),
        input=text_of(row, "input", required=False),
        output=text_of(row, "output"),
    )


TASK = Task(
    domain="logical reasoning",
    source="Zhang et al., 2023",
    hub_id="QingyiSi/Alpaca-CoT",
    folders=("autocot",),
    fields=fields,
)
