"""iCliniq rows: the upstream form, and Alpaca-CoT's of the same data."""

import pytest

from data_prep.conversion import Fields
from data_prep.icliniq import INSTRUCTION, fields

UPSTREAM = {
    "input": "I cough.",
    "answer_icliniq": "Rest.",
    "answer_chatgpt": "See a doctor.",
    "answer_chatdoctor": "Hi.",
}


def test_answer_is_icliniqs() -> None:
    """The output is the doctor's answer, not one of the models', under the collection's instruction."""
    assert fields(UPSTREAM) == Fields(instruction=INSTRUCTION, input="I cough.", output="Rest.")
    assert INSTRUCTION == "If you are a doctor, please answer the medical questions based on the patient's description."


@pytest.mark.parametrize(
    ("answer", "output"),
    [("answer_icliniq", "Rest."), ("answer_chatgpt", "See a doctor."), ("answer_chatdoctor", "Hi.")],
)
def test_answer_can_be_chosen(answer: str, output: str) -> None:
    """Any of the three answers can be the output."""
    assert fields(UPSTREAM, answer=answer) == Fields(instruction=INSTRUCTION, input="I cough.", output=output)


def test_alpaca_form_has_the_doctors_answer_only() -> None:
    """Where a model's answer is asked for, Alpaca-CoT's output never stands in for it."""
    with pytest.raises(ValueError, match=r"^no answer_chatgpt$"):
        fields({"instruction": INSTRUCTION, "input": "I cough.", "output": "Rest."}, answer="answer_chatgpt")


def test_alpaca_form_gives_the_same() -> None:
    """Alpaca-CoT's row of the same answer is the same record."""
    assert fields({"instruction": INSTRUCTION, "input": "I cough.", "output": "Rest."}) == fields(UPSTREAM)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"answer_icliniq": "Rest."}, "no input"),
        ({"input": "I cough."}, "no answer_icliniq"),
        ({"input": "I cough.", "answer_icliniq": None}, "no answer_icliniq"),
        ({"input": "I cough.", "answer_icliniq": "", "output": "Rest."}, "empty answer_icliniq"),
        ({"input": "I cough.", "answer_chatgpt": "Rest."}, "no answer_icliniq"),
        ({"input": "I cough.", "output": "Rest."}, "no instruction"),
        ({"instruction": INSTRUCTION, "input": "", "output": "Rest."}, "empty input"),
        ("I cough.", "the row is str"),
    ],
)
def test_broken_row_is_refused(row: object, reason: str) -> None:
    """Without a description or the doctor's answer there is no record, whichever other answer the row has."""
    with pytest.raises(ValueError, match=reason):
        fields(row)
