"""Rows of a file of any form, each with its line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import tables

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that are written many times."""
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("rows.json", "rows", ".json"), ("rows.jsonl", "rows", ".jsonl"), ("rows.json.gz", "rows", ".json"),
        ("a.b.jsonl.gz", "a.b", ".jsonl"), ("rows.csv", "rows", ".csv"), ("rows.parquet", "rows", ".parquet"),
        ("rows.txt", "rows.txt", ""), ("rows.gz", "rows", ""),
    ],
)  # fmt: skip
def test_name_tells_the_form(name: str, stem: str, suffix: str) -> None:
    """The form is the last suffix, gzipped or not; the stem is what is before it."""
    assert (tables.stem(Path(name)), tables.suffix(Path(name))) == (stem, suffix)


@given(rows=st.lists(st.tuples(cells, cells, st.just("x")), max_size=5), end=st.sampled_from(["\n", "\r\n"]))
def test_csv_rows_have_the_headers_fields_and_their_first_line(folder: Path, rows: list, end: str) -> None:
    """Whatever csv.writer writes is read back, each row with the line that it starts on."""
    text, expected = io.StringIO(), []
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(["q", "a", "third"])
    for row in rows:
        expected.append((text.getvalue().count("\n") + 1, dict(zip(("q", "a", "third"), row, strict=True))))
        writer.writerow(row)
    (folder / "rows.csv").write_bytes(text.getvalue().encode())
    assert list(tables.rows(folder / "rows.csv")) == expected


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_row_of_another_width_is_a_list(tmp_path: Path, mark: str) -> None:
    """A row with a value too many or too few comes as it is, for the converter to refuse; blank lines are none."""
    (tmp_path / "rows.csv").write_text(f"{mark}\nq,a\n1,2\n\n1\n1,2,3\n", encoding="utf-8")
    assert list(tables.rows(tmp_path / "rows.csv")) == [(3, {"q": "1", "a": "2"}), (5, ["1"]), (6, ["1", "2", "3"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"q,q\n1,2\n", r"rows\.csv:1: malformed CSV: the header"),
        (b"q,\n1,2\n", r"rows\.csv:1: malformed CSV: the header"),
        (b",q,\n1,2,3\n", r"rows\.csv:1: malformed CSV: the header"),
        (b'q,a\n1,2\n"open,2\n', r"rows\.csv:3: malformed CSV: unexpected end of data"),
        (b'q,a\n"1"x,2\n', r"rows\.csv:2: malformed CSV"),
        (b"q,a\n1,caf\xe9\n", r"rows\.csv:2: not UTF-8"),
    ],
)
def test_malformed_csv_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """What is wrong with a CSV file is said with file and line."""
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(tables.rows(tmp_path / "rows.csv"))


def test_long_csv_field_is_read(tmp_path: Path) -> None:
    """A megabyte in one field is a field."""
    (tmp_path / "rows.csv").write_text(f"q\n{'x' * 10**6}\n")
    assert list(tables.rows(tmp_path / "rows.csv")) == [(2, {"q": "x" * 10**6})]


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    """Parquet rows come in their order, nested values and nulls as they are, over several batches."""
    rows: list[Any] = [{"n": n, "q": {"t": [str(n)]}, "a": None if n % 2 else "x"} for n in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=700)
    assert list(tables.rows(tmp_path / "rows.parquet")) == list(enumerate(rows, start=1))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 20, json.dumps([1]).encode()])
def test_malformed_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    """What is called Parquet but is not is refused by name."""
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.parquet:1: malformed Parquet"):
        list(tables.rows(tmp_path / "rows.parquet"))


def test_parquet_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    """A text column with other bytes in it is refused with the row's number or the batch's first."""
    array = pa.Array.from_buffers(pa.string(), 2, pa.array([b"good", b"caf\xe9"], pa.binary()).buffers())
    pq.write_table(pa.table({"q": array}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"rows\.parquet:\d+: malformed Parquet"):
        list(tables.rows(tmp_path / "rows.parquet"))


def test_csv_of_pandas_is_read_without_its_index(tmp_path: Path) -> None:
    """pandas heads the index of a table with nothing: that column is left out, and none other."""
    frame = pandas.DataFrame({"q": ["one, two", "three"], "a": ["x", "y"]}, index=[7, 9])
    frame.to_csv(tmp_path / "rows.csv")
    assert list(tables.rows(tmp_path / "rows.csv")) == [(2, {"q": "one, two", "a": "x"}), (3, {"q": "three", "a": "y"})]


def written(path: Path, table: pa.Table) -> Path:
    """The table as Parquet, or in the one or other form of Arrow."""
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return path
    make = pa.ipc.new_stream if path.stem == "stream" else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


FORMS = ["rows.parquet", "stream.arrow", "file.arrow"]


@pytest.mark.parametrize("name", FORMS)
def test_columns_are_rows_whatever_the_form(tmp_path: Path, name: str) -> None:
    """Parquet, Arrow's stream (which `datasets` writes) and Arrow's file give the same numbered rows."""
    rows: list[Any] = [{"n": n, "q": {"t": [str(n)]}} for n in range(5)]
    path = written(tmp_path / name, pa.Table.from_pylist(rows))
    assert list(tables.rows(path)) == list(enumerate(rows, start=1))
    path.write_bytes(path.read_bytes()[:-40] if name != "stream.arrow" else path.read_bytes()[:200])
    with pytest.raises(ValueError, match=rf"{name}:\d+: malformed (Parquet|Arrow)"):
        list(tables.rows(path))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("nested", [False, True])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, name: str, nested: bool) -> None:
    """A row would keep the last of the two: the file and the name are said, as for CSV, also in a list of structs."""
    columns = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array(["e", "f"])]
    table = pa.Table.from_arrays(columns, names=["q", "a", "a"])
    if nested:
        struct = pa.StructArray.from_arrays(columns, names=["q", "a", "a"])
        table = pa.table({"outer": pa.ListArray.from_arrays([0, 1, 2], struct)})
    with pytest.raises(
        ValueError, match=rf"{name}:1: malformed (Parquet|Arrow): two columns are called 'a'; rename one"
    ):
        list(tables.rows(written(tmp_path / name, table)))
