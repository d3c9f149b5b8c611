"""Sets of one's own: any field names, named errors, nothing lost."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import generic
from data_prep.conversion import Fields
from hycam_exp.data.sources import read

MAPPING = {"instruction": "q", "output": "a", "input": "about", "group": "doc"}
ROWS = [{"q": f"Why {n}?", "a": f"So {n}.", "about": "" if n else "This.", "doc": str(n // 2)} for n in range(4)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the form that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines))
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows))
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv", "rows.parquet"])
def test_any_form_gives_the_same_records_by_configuration_alone(tmp_path: Path, name: str) -> None:
    """JSON, JSON Lines, CSV and Parquet with mapped fields are the same records, named or as a task's folder."""
    path = written(tmp_path / "data" / "mine" / name, ROWS)
    found = read(["mine"], str(path), {"mine": MAPPING})
    assert sorted((r.instruction, r.input, r.output, r.group) for r in found.records) == [
        ("Why 0?", "This.", "So 0.", "0"), ("Why 1?", "", "So 1.", "0"), ("Why 2?", "", "So 2.", "1"),
        ("Why 3?", "", "So 3.", "1"),
    ]  # fmt: skip
    assert read(["mine"], str(tmp_path / "data"), {"mine": MAPPING}).records == found.records


def test_without_a_group_the_prompt_is_the_group() -> None:
    """Only a mapped group that is there replaces the prompt as the group."""
    row = {"q": "Why?", "a": "So."}
    assert generic.fields(row, {"instruction": "q", "output": "a"}) == Fields(instruction="Why?", output="So.")
    mapping = {"instruction": "q", "output": "a", "group": "g"}
    for empty in ({}, {"g": None}, {"g": " "}, {"g": math.nan}):
        assert generic.fields(row | empty, mapping) == Fields(instruction="Why?", output="So.")
    for value, group in ((7, "7"), (7.0, "7"), (7.5, "7.5"), ("7.0", "7.0"), (" A, b ", " A, b ")):
        assert generic.fields(row | {"g": value}, mapping).group == group
    for value in (True, [1], {"a": 1}):
        with pytest.raises(ValueError, match=r"g is (bool|list|dict), not text"):
            generic.fields(row | {"g": value}, mapping)


def test_column_of_whole_numbers_with_a_gap_groups_as_without(tmp_path: Path) -> None:
    """pandas makes floats of a column of whole numbers with a gap: the groups stay, and the gap is its own prompt's."""
    values = {"int": pa.array([1, 1, 2, 2]), "float": pa.array([1.0, 1.0, 2.0, math.nan], from_pandas=False)}
    found = {}
    for name, column in values.items():
        table = pa.table({"q": ["a", "b", "c", "d"], "a": ["x"] * 4, "doc": column})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        mapping = {"instruction": "q", "output": "a", "group": "doc"}
        records = read(["mine"], str(tmp_path / f"{name}.parquet"), {"mine": mapping}).records
        found[name] = {record.instruction: record.group for record in records}
    assert found["int"] == {"a": "1", "b": "1", "c": "2", "d": "2"}
    assert found["float"] == found["int"] | {"d": "d"}


def test_unknown_field_is_named_with_those_that_exist(tmp_path: Path) -> None:
    """A mapped field that no row has is an error that lists the fields of the file."""
    path = written(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"rows\.jsonl: output=answer: no row has .*; the fields are q, a, about, doc"):
        read(["mine"], str(path), {"mine": {"instruction": "q", "output": "answer"}})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"instruction": "q"}, "data.fields.mine: no output"),
        ({"output": "a"}, "data.fields.mine: no instruction"),
        ({"instruction": "q", "output": None}, "data.fields.mine: no output"),
        (
            {"instruction": "q", "output": "a", "label": "x"},
            "data.fields.mine.label: must be one of instruction, output",
        ),
    ],
)
def test_mapping_needs_instruction_and_output(tmp_path: Path, mapping: dict[str, str | None], message: str) -> None:
    """A mapping that is not whole, or maps something unknown, is refused by its key."""
    with pytest.raises(ValueError, match=message):
        read(["mine"], str(written(tmp_path / "rows.jsonl", ROWS)), {"mine": mapping})


def test_mapping_needs_a_root() -> None:
    """The generated set has no tasks of one's own."""
    with pytest.raises(ValueError, match=r"data\.fields\.mine: needs data\.root"):
        read(["mine"], None, {"mine": {"instruction": "q", "output": "a"}})


def test_own_task_without_mapping_is_refused(tmp_path: Path) -> None:
    """A task that is neither known, mapped nor converted says what it could be."""
    path = written(tmp_path / "mine" / "rows.jsonl", ROWS)
    with pytest.raises(
        ValueError, match=r"data\.tasks=mine: must be one of auto_cot.* \+data\.fields\.mine\.instruction=FIELD"
    ):
        read(["mine"], str(path.parent))


def test_broken_rows_are_rejected_with_reasons(tmp_path: Path) -> None:
    """A row without a field, with a number for a text, or of another width in CSV is rejected, never lost."""
    rows = [*ROWS, {"q": "Why?"}, {"q": 7, "a": "x"}, ["x"], None]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    found = read(["mine"], str(path), {"mine": {"instruction": "q", "output": "a"}})
    reasons = [r.reason for r in found.rejections]
    assert reasons == [
        "no a",
        "q is int, not text",
        "1 values, unlike the header",
        "the row is NoneType, not an object",
    ]
    assert len(found.records) == 4
