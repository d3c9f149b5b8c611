"""Upstream files: every row with the line it starts on, or an error that names the line."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import tables

# No lone surrogates: a file is UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that are written many times."""
    return tmp_path_factory.mktemp("json_rows")


def read(path: Path, content: str | bytes) -> list[tuple[int, Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(tables.rows(path))


several = st.lists(values, max_size=5).filter(lambda rows: len(rows) != 1)  # one value may hold the rows itself


@given(rows=several, ascii=st.booleans(), gaps=st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_lines_are_rows_with_their_numbers(folder: Path, rows: list, ascii: bool, gaps: list[int]) -> None:
    """JSON Lines give each row with its own line, blank lines counted and left out."""
    text, expected = "", []
    for row, gap in zip(rows, gaps, strict=False):
        text += gap * "  \n"
        expected.append((text.count("\n") + 1, row))
        text += json.dumps(row, ensure_ascii=ascii) + "\n"
    assert read(folder / "rows.jsonl", text) == expected


@given(rows=st.lists(values, max_size=5), indent=st.sampled_from([None, 0, 1, 4]), ascii=st.booleans())
def test_array_elements_are_rows_with_their_lines(folder: Path, rows: list, indent: int | None, ascii: bool) -> None:
    """A JSON array gives each element with the line on which it starts, however it is laid out."""
    text, expected = "\n [ ", []
    for number, row in enumerate(rows):
        text += " ,\n\n" if number else "\r\n"
        expected.append((text.count("\n") + 1, row))
        text += json.dumps(row, ensure_ascii=ascii, indent=indent)
    assert read(folder / "rows.json", text + "\t]\n\n") == expected


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path: Path, name: str, newline: str, mark: str) -> None:
    """A byte order mark and Windows line ends are no part of the rows."""
    lines = ['{"a": "one\\r\\ntwo"}', "[1]"]
    text = newline.join(["[", f"{lines[0]},", lines[1], "]"] if name == "rows.json" else lines)
    first = 2 if name == "rows.json" else 1
    assert read(tmp_path / name, mark + text) == [(first, {"a": "one\r\ntwo"}), (first + 1, [1])]


def test_json_file_of_lines_is_read_as_lines(tmp_path: Path) -> None:
    """A .json file that does not begin with a bracket holds a row a line."""
    assert read(tmp_path / "rows.json", '{"a": 1}\n{"a": 2}\n') == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_only_a_newline_ends_a_line(tmp_path: Path, separator: str) -> None:
    """Characters that Python, but not JSON, takes for line ends may stand inside a row."""
    rows = [{"a": f"one{separator}two"}, {"a": "three"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert read(tmp_path / "rows.jsonl", text) == [(1, rows[0]), (2, rows[1])]


def test_escapes_are_read_as_they_are(tmp_path: Path) -> None:
    """NUL and lone surrogates can be written as escapes: the reader hands them on, the converters judge them."""
    assert read(tmp_path / "rows.jsonl", '{"a": "x\\u0000y"}\n{"a": "\\ud800"}') == [
        (1, {"a": "x\0y"}),
        (2, {"a": "\ud800"}),
    ]


@pytest.mark.parametrize("content", ["", " \n\n", "[]", "[\n]\n"])
def test_nothing_in_a_file_is_no_row(tmp_path: Path, content: str) -> None:
    """An empty file and an empty array have no rows."""
    assert read(tmp_path / "rows.json", content) == []


DEEP = "[" * 100_000
LONG = "9" * 5_000  # more digits than Python turns into a number


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('[{"a": 1},\n {"a": }]', 2, "Expecting value"),
        ('[{"a": 1},\n {"a": 2},\n]', 3, "a comma before the closing bracket"),
        ('[{"a": 1}\n {"a": 2}]', 2, "expected a comma or the closing bracket"),
        ('[{"a": 1}\n', 2, "expected a comma or the closing bracket"),
        ('[{"a": 1},\n\n', 3, "the array is not closed"),
        ("[", 1, "the array is not closed"),
        ("[1\n]\n[2]", 2, "text after the array"),
        ("[1,\n,2]", 2, "Expecting value"),
        ('["a\0b"]', 1, "Invalid control character"),
        (f"[1,\n{LONG}]", 2, "4300 digits"),
        (f"[1,\n{DEEP}]", 2, "nested too deeply"),
    ],
)
def test_malformed_array_is_named(tmp_path: Path, content: str, line: int, reason: str) -> None:
    """What is wrong with an array is said with the file and the line."""
    with pytest.raises(ValueError, match=rf"rows\.json:{line}: malformed JSON: .*{reason}"):
        read(tmp_path / "rows.json", content)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('{"a": 1}\n{"a": 1\n', 2, "Expecting"),
        ("\n\nNone\n", 3, "Expecting value"),
        ('{"a": 1} {"a": 2}\n', 1, "Extra data"),
        ('{"a": "x\0y"}', 1, "Invalid control character"),
        (f"1\n{LONG}\n", 2, "4300 digits"),
        (f"1\n{DEEP}\n", 2, "nested too deeply"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, content: str, line: int, reason: str) -> None:
    """What is wrong with a line is said with the file and its number."""
    with pytest.raises(ValueError, match=rf"rows\.jsonl:{line}: malformed JSON: .*{reason}"):
        read(tmp_path / "rows.jsonl", content)


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"a": "caf\xe9"}', 1), (b'{"a": 1}\r\n{"a": "caf\xe9"}', 2), ("{}".encode("utf-16"), 1)],
)
def test_text_that_is_not_utf8_is_named(tmp_path: Path, content: bytes, line: int) -> None:
    """A file in another encoding is refused with the line of the first wrong byte."""
    with pytest.raises(ValueError, match=rf"rows\.jsonl:{line}: not UTF-8 text"):
        read(tmp_path / "rows.jsonl", content)


@given(content=st.text(st.sampled_from('[]{},:"ab1 \n\\')) | texts, name=st.sampled_from(["rows.json", "rows.jsonl"]))
def test_any_text_gives_rows_or_a_named_error(folder: Path, content: str, name: str) -> None:
    """Whatever a file holds, it is read, or refused with its name and a line of it; no row is without a line."""
    path = folder / name
    try:
        found = read(path, content)
    except ValueError as error:
        named, line, _ = str(error).split(":", 2)
        assert named == str(path)
    else:
        line = found[-1][0] if found else 1
    assert 1 <= int(line) <= content.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz", "rows.jsonl.gz"])
def test_gzipped_file_is_read_as_what_is_in_it(tmp_path: Path, name: str) -> None:
    """A gzipped file gives the rows of the file inside, whatever its name."""
    text = '[\n[1],\n{"a": 2}\n]' if ".json." in name or name.endswith(".json") else '\n[1]\n{"a": 2}\n'
    assert read(tmp_path / name, gzip.compress(text.encode())) == [(2, [1]), (3, {"a": 2})]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:12] + b"\xff\xff" + b[14:], lambda b: b[:2], lambda b: b + b"x"]
)
def test_damaged_gzip_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A gzip file that is cut off or changed is refused by name, never read in part."""
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz:1: malformed gzip"):
        read(tmp_path / "rows.jsonl.gz", damage(gzip.compress(b'{"a": 1}\n{"a": 2}\n')))


OBJECTS = [{"q": "one", "n": {"deep": [1, 2]}}, {"q": "two"}, {"q": "three"}]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (json.dumps(OBJECTS, indent=1), [2, 11, 14]),  # an array, laid out
        (json.dumps(OBJECTS), [1, 1, 1]),  # and on one line
        (json.dumps({"version": "1.0", "data": OBJECTS, "tags": ["a"]}, indent=1), [4, 13, 16]),
        (json.dumps({"data": OBJECTS}), [1, 1, 1]),
        (json.dumps({"a": OBJECTS[0], "b": OBJECTS[1], "c": OBJECTS[2]}, indent=1), [2, 11, 14]),  # by keys
        ("\n" + "\n".join(json.dumps(row, indent=1) for row in OBJECTS), [2, 11, 14]),  # one after the other
    ],
)
def test_other_forms_of_json_hold_the_same_rows(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    """An array, an object with a list of rows or of rows by key, and objects over several lines, each with its line."""
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text
    assert read(tmp_path / name, content) == list(zip(lines, OBJECTS, strict=True))


@pytest.mark.parametrize(
    "text", ['{"q": "why",\n "n": [1], "m": {"a": 1}}', '{"q": "why", "n": [1], "m": {"a": 1}}', "[[1], [2]]", "7"]
)
def test_a_value_that_holds_no_rows_is_a_row(tmp_path: Path, text: str) -> None:
    """A single record, laid out or not, and in JSON Lines a comparison of two answers, is one row."""
    assert read(tmp_path / "rows.jsonl", text) == [(1, json.loads(text))]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"q": {"0": "a", "1": "b"}, "a": {"0": "c", "1": "d"}}, r"an object of columns \(q, a\).*orient=\"records\""),
        ({"q": ["a", "b"], "a": ["c", "d"]}, r"an object of columns \(q, a\)"),
        ({"columns": ["q"], "index": [0], "data": [["a"]]}, r"an object of columns"),
        ({"train": OBJECTS, "test": OBJECTS}, r"an object of 2 lists of rows \(train, test\); make each a file"),
    ],
)
def test_object_that_is_not_rows_is_said_to_be_what_it_is(tmp_path: Path, content: dict, what: str) -> None:
    """Valid JSON in a form that is not read is never called malformed."""
    with pytest.raises(ValueError, match=rf"rows\.json:1: holds {what}"):
        read(tmp_path / "rows.json", json.dumps(content))


@pytest.mark.parametrize(
    ("content", "line"),
    [('{"a": 1}\n{"a": 1, "a": 2}', 2), ('[{"a": 1},\n{"b": {"a": 1, "a": 2}}]', 2), ('{\n"a": 1,\n"a": 2}', 1)],
)
def test_key_that_stands_twice_is_refused(tmp_path: Path, content: str, line: int) -> None:
    """Of two values under one key neither is dropped without a word."""
    with pytest.raises(ValueError, match=rf"rows\.json:{line}: malformed JSON: the key 'a' stands twice in an object"):
        read(tmp_path / "rows.json", content)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"a": 1\n{"a": 2}\n', 1),  # JSON Lines whose first line is wrong
        ('{\n "a": 1\n}\n{\n "a": 2,\n}\n', 6),  # objects over several lines
        ('{\n "a":\n  x\n}', 3),
    ],
)
def test_malformed_value_is_named_where_it_is_wrong(tmp_path: Path, content: str, line: int) -> None:
    """In JSON Lines by its line, in a text of other form by the line of the wrong character."""
    with pytest.raises(ValueError, match=rf"rows\.jsonl:{line}: malformed JSON"):
        read(tmp_path / "rows.jsonl", content)


def test_compressed_lines_are_streamed(tmp_path: Path) -> None:
    """A compressed file takes the memory of a line, not of its text: 200 MB of text stay below 20 MB."""
    line = json.dumps({"a": "x" * 1_000_000}).encode() + b"\n"
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(line * 200, compresslevel=1))
    tracemalloc.start()
    try:
        assert sum(len(row["a"]) for _, row in tables.rows(tmp_path / "rows.jsonl.gz")) == 200_000_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
