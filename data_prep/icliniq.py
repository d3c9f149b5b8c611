"""iCliniq rows: a patient's description and a doctor's answer. Standard library only."""

from typing import Any

from data_prep.conversion import Fields, Task, mapping_of, text_of

# The instruction that the Alpaca-CoT collection gives every row; the authors took their data from there.
INSTRUCTION = "If you are a doctor, please answer the medical questions based on the patient's description."


DOCTORS = "answer_icliniq"


def fields(row: Any, answer: str = DOCTORS) -> Fields:
    """The upstream form (input and three answers), or Alpaca-CoT's with the doctor's (instruction, input, output)."""
    row = mapping_of(row)
    alpaca = answer == DOCTORS and DOCTORS not in row and "output" in row
    return Fields(
        instruction=text_of(row, "instruction") if alpaca else INSTRUCTION,
        input=text_of(row, "input"),
        output=text_of(row, "output" if alpaca else answer),
    )


TASK = Task(
    domain="medical dialogue",
    source="Li et al., 2023",
    hub_id="lavita/ChatDoctor-iCliniq",
    folders=("icliniq", "chatdoctoricliniq"),
    fields=fields,
)
