"""What all converters share: rows in are records and rejections out, and no row is too broken for that."""

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.conversion import Fields, convert, mapping_of, text_of
from data_prep.tasks import TASKS
from hycam_exp.data.records import Record, Rejection, normalise

GOOD: dict[str, Any] = {
    "auto_cot": {"instruction": "2 + 2?", "input": "", "output": "2 and 2 are 4."},
    "icliniq": {"input": "I cough.", "answer_icliniq": "Rest."},
    "dolly": {"instruction": "Who?", "context": "Ada wrote it.", "response": "Ada.", "category": "closed_qa"},
    "code_alpaca": {"instruction": "Print 1.", "input": "", "output": "print(1)"},
    "web_gpt": [
        {
            "question": {"full_text": "Why?"},
            "quotes": {"title": ["T"], "extract": ["E"]},
            "answer": answer,
            "score": 0.5 * sign,
        }
        for answer, sign in (("Because.", 1), ("No idea.", -1))
    ],
}  # fmt: skip
WRONG = [
    None, True, 0, -1.5, 10**400, float("nan"), float("inf"), "", " \n", "\0", "\ud800", "text", [], [1, 2], ["\ud800"],
    ["a", "b"], {}, {"title": 1},
]  # fmt: skip
NAMES = sorted({"instruction", "input", "output", "context", "response", "category", "answer_icliniq"})

texts = st.text() | st.sampled_from(["", " ", "\n", "\0", "\ud800", "\ufeff", "< noinput >", "a"])
scalars = st.none() | st.booleans() | st.sampled_from([0, 1, -(10**400), 10**400]) | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple]:
    """The path of every value inside a row, the row's own first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *path) for key, part in inner for path in places(part))]


def put(value: Any, path: tuple, new: Any) -> Any:
    """The row with the value at a path replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def assert_converted(task: str, rows: list[Any]) -> None:
    """Each row gave a record that can be used, or a rejection with its place."""
    numbered = list(enumerate(rows, start=1))
    found = list(convert(task, numbered, "file", import_module(f"data_prep.{task}").fields))
    assert len(found) == len(rows)
    for (line, row), result in zip(numbered, found, strict=True):
        if isinstance(result, Rejection):
            assert (result.task, result.source, result.line) == (task, "file", line)
            assert result.reason
            assert row != GOOD[task]
        else:
            assert result.task == task
            assert result.instruction.strip()
            assert result.output.strip()
            # UTF-8 must be able to say it: a tokenizer and the record's file will.
            "".join([result.instruction, result.input, result.output, result.group, *result.metadata.values()]).encode()


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_rows_in_are_records_and_rejections_out(task: str, data: st.DataObject) -> None:
    """Of any rows each gives one record or one rejection, in order, and a good row gives a record."""
    assert_converted(task, data.draw(st.lists(st.just(GOOD[task]) | values, max_size=6)))


@pytest.mark.parametrize("task", TASKS)
def test_no_value_is_too_broken(task: str) -> None:
    """A good row with any one of its values, at any depth, replaced by a wrong one is a record or a rejection."""
    damaged = [put(GOOD[task], path, wrong) for path in places(GOOD[task]) for wrong in WRONG]
    assert_converted(task, [row for row in damaged if row != GOOD[task]])


@pytest.mark.parametrize("task", TASKS)
def test_converter_gives_the_same_for_the_same(task: str) -> None:
    """A converter is a function of the row: twice the same row is twice the same record."""
    first, second = convert(task, [(1, GOOD[task]), (2, GOOD[task])], "file", import_module(f"data_prep.{task}").fields)
    assert isinstance(first, Record)
    assert first == second


def read_fields(row: Any) -> Fields:
    """A converter for these tests: the row's own fields."""
    if isinstance(row, str):
        raise ValueError(row)
    return Fields(**row)


def test_record_holds_the_fields_as_they_are() -> None:
    """Texts are neither stripped nor normalised; only the group is."""
    row = {"instruction": " Why\nso? ", "input": "\tX ", "output": " Y\r\n", "metadata": {"category": "qa"}}
    assert list(convert("dolly", [(7, row)], "file", read_fields)) == [
        Record(
            task="dolly", instruction=" Why\nso? ", input="\tX ", output=" Y\r\n", group="whysox",
            metadata={"category": "qa"},
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("group_by", "group"), [(None, "ip"), ("  The\nGROUP: ", "thegroup")])
def test_group_is_the_prompt_or_what_the_converter_says(group_by: str | None, group: str) -> None:
    """Without a text to group by, instruction and input together decide the group."""
    row = {"instruction": "I", "input": "P", "output": "O", "group_by": group_by}
    (record,) = convert("dolly", [(1, row)], "file", read_fields)
    assert isinstance(record, Record)
    assert record.group == group == normalise(group)


def test_group_of_a_users_own_is_as_it_is() -> None:
    """A group that the row names itself is neither normalised nor replaced."""
    row = {"instruction": "I", "output": "O", "group": " Patient 7 ", "group_by": "x"}
    (record,) = convert("mine", [(1, row)], "file", read_fields)
    assert isinstance(record, Record)
    assert record.group == " Patient 7 "


def test_rejection_names_place_and_reason() -> None:
    """A converter's ValueError becomes a rejection, and the rows after it are still read."""
    good = {"instruction": "I", "output": "O"}
    found = list(convert("dolly", [(3, "no luck"), (9, good)], "rows.json", read_fields))
    assert found[0] == Rejection(task="dolly", source="rows.json", line=3, reason="no luck")
    assert isinstance(found[1], Record)


def test_other_errors_are_not_swallowed() -> None:
    """Only what a converter says about a row is a rejection: a bug stays an error."""
    with pytest.raises(TypeError):
        list(convert("dolly", [(1, {"unknown": 1})], "file", read_fields))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no answer"),
        ({"answer": None}, "no answer"),
        ({"answer": ""}, "empty answer"),
        ({"answer": " \u00a0\n"}, "empty answer"),
        ({"answer": 7}, "answer is int, not text"),
        ({"answer": ["a"]}, "answer is list, not text"),
        ({"answer": "a\ud800"}, "answer holds a lone surrogate"),
    ],
)
def test_required_text_is_text(row: dict, reason: str) -> None:
    """A required field that is missing, blank, no text or not encodable is refused with the reason."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        text_of(row, "answer")


@pytest.mark.parametrize("text", ["a", " a ", "\0", "\ufeffa", "a\r\nb", "\U0001f600"])
def test_text_is_kept_as_it_is(text: str) -> None:
    """NUL, a byte order mark inside a text, line ends and outer white space stay."""
    assert text_of({"answer": text}, "answer") == text


@pytest.mark.parametrize(("row", "text"), [({}, ""), ({"input": None}, ""), ({"input": ""}, ""), ({"input": " "}, " ")])
def test_optional_text_may_be_missing(row: dict, text: str) -> None:
    """A field that is not required may be missing, null or blank."""
    assert text_of(row, "input", required=False) == text


@pytest.mark.parametrize(
    ("value", "reason"), [(7, "input is int, not text"), ("\udfff", "input holds a lone surrogate")]
)
def test_optional_text_is_text_where_it_is_there(value: Any, reason: str) -> None:
    """A field that is not required must be text all the same."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        text_of({"input": value}, "input", required=False)


@pytest.mark.parametrize(("row", "kind"), [(None, "NoneType"), ([], "list"), ("a", "str"), (1.5, "float")])
def test_row_is_an_object(row: Any, kind: str) -> None:
    """A row of another kind is refused by its kind."""
    assert mapping_of({"a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match=f"the row is {kind}, not an object"):
        mapping_of(row)
