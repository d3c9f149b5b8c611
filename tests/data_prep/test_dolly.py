"""Dolly rows: the context is the input, and rows that share it share a group."""

from typing import Any

import pytest

from data_prep.conversion import Fields, convert
from data_prep.dolly import fields
from hycam_exp.data.records import Record

ROW = {"instruction": "Who wrote it?", "context": "Ada wrote it.", "response": "Ada.", "category": "closed_qa"}


def group_of(row: dict[str, Any]) -> str:
    (record,) = convert("dolly", [(1, row)], "file", fields)
    assert isinstance(record, Record)
    return record.group


def test_context_is_the_input() -> None:
    """Instruction, context and response become the three texts; the category is kept."""
    assert fields(ROW) == Fields(
        instruction="Who wrote it?",
        input="Ada wrote it.",
        output="Ada.",
        group_by="Ada wrote it.",
        metadata={"category": "closed_qa"},
    )


def test_alpaca_form_gives_the_same() -> None:
    """Alpaca-CoT's row of the same answer has the same texts and group."""
    row = {"instruction": "Who wrote it?", "input": "Ada wrote it.", "output": "Ada.", "category": "closed_qa"}
    assert fields(row) == fields(ROW)


def test_rows_with_one_context_share_a_group() -> None:
    """Another question about the same passage, spaced and cased otherwise, is in the same group."""
    assert group_of(ROW) == group_of({**ROW, "instruction": "What did Ada do?", "context": "ADA  wrote it.\n"})
    assert group_of(ROW) != group_of({**ROW, "context": "Bob wrote it."})


@pytest.mark.parametrize("context", ["", " \n", None])
def test_rows_without_a_context_are_grouped_by_their_prompt(context: str | None) -> None:
    """A blank context does not put all such rows into one group: their instruction does."""
    assert group_of({**ROW, "context": context}) == "whowroteit"
    assert group_of({**ROW, "context": context, "instruction": "Why?"}) == "why"


def test_category_may_be_missing() -> None:
    """A row without a category has none."""
    assert fields({key: value for key, value in ROW.items() if key != "category"}).metadata == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"instruction": None}, "no instruction"),
        ({"response": "\n"}, "empty response"),
        ({"context": ["Ada"]}, "context is list, not text"),
        ({"category": 3}, "category is int, not text"),
        ({"response": None, "output": "Ada."}, "no response"),
    ],
)
def test_broken_row_is_refused(change: dict[str, Any], reason: str) -> None:
    """A row without instruction or response, or with another kind of value, says so."""
    with pytest.raises(ValueError, match=reason):
        fields({**ROW, **change})
