"""Conversion to Parquet: nothing lost, nothing half-written, and the same records as the upstream file itself."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import canonical, manifest, tables
from data_prep.tasks import TASKS, reading
from hycam_exp.data.records import content_hash
from hycam_exp.data.sources import read
from tests.data_prep.test_conversion import GOOD, WRONG, places, put, values

FLAT = {"question": {"full_text": "Why?"}} | {
    f"{key}_{n}": value
    for n in (0, 1)
    for key, value in (("quotes", {"title": ["T"], "extract": ["E"]}), ("answer", f"A{n}"), ("score", float(n)))
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that are written many times."""
    return tmp_path_factory.mktemp("canonical")


def lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sample(task: str) -> list[Any]:
    """Good rows with a duplicate, and rows that are rejected."""
    other = put(GOOD[task], (0, "answer"), "Else.") if task == "web_gpt" else GOOD[task] | {"input": "Other."}
    return [GOOD[task], None, other, GOOD[task], {}, []]


@pytest.mark.parametrize("task", TASKS)
def test_parquet_gives_the_records_of_the_upstream_file(tmp_path: Path, task: str) -> None:
    """Ids, groups, metadata, order and rejected rows are the same, read from Parquet or from upstream's file."""
    path = lines(tmp_path / "up" / task / "rows.jsonl", sample(task))
    entry = canonical.convert_file(task, path, tmp_path / "out", reading(task))
    upstream, converted = read([task], str(tmp_path / "up")), read([task], str(tmp_path / "out"))
    assert converted.records == upstream.records
    assert content_hash(converted.records) == content_hash(upstream.records)
    assert [(r.line, r.reason) for r in converted.rejections] == [(r.line, r.reason) for r in upstream.rejections]
    assert (entry.rows, entry.records) == (6, 3)
    assert sorted(line for places in entry.rejected.values() for line in places) == [2, 5, 6]
    assert [source.name for source in converted.sources] == ["rows.parquet"]


def test_columns_and_order_are_the_rows(tmp_path: Path) -> None:
    """The file has the six columns in the order of the rows; metadata is JSON text."""
    rows = [{"instruction": f"I{n}", "context": "C", "response": "R\0\U0001f600", "category": "qa"} for n in (2, 1)]
    canonical.convert_file("dolly", lines(tmp_path / "rows.jsonl", rows), tmp_path, reading("dolly"))
    assert pq.read_table(tmp_path / "dolly" / "rows.parquet").to_pylist() == [
        {
            "task": "dolly", "instruction": f"I{n}", "input": "C", "output": "R\0\U0001f600", "group": "c",
            "metadata": '{"category": "qa"}',
        }
        for n in (2, 1)
    ]  # fmt: skip


def test_manifest_has_an_entry_for_every_file(tmp_path: Path) -> None:
    """Each source has its own Parquet and entry with hashes; a second run changes no byte."""
    up = tmp_path / "up" / "codealpaca"
    sources = [lines(up / "b.jsonl", [GOOD["code_alpaca"], 7]), lines(up / "a.b.jsonl", [GOOD["code_alpaca"]])]
    for _ in range(2):
        canonical.convert_all(tmp_path / "up", tmp_path / "out", reading, lambda task, entry: None)
        out = {p.name: p.read_bytes() for p in (tmp_path / "out" / "code_alpaca").iterdir()}
        assert sorted(out) == ["a.b.parquet", "b.parquet", "manifest.json", "rejected.jsonl"]
        content = json.loads(out["manifest.json"])
        assert (content["task"], [e["name"] for e in content["files"]]) == ("code_alpaca", ["a.b.jsonl", "b.jsonl"])
        assert content["files"][1]["rejected"] == {"the row is int, not an object": [2]}
        for entry, source in zip(content["files"], reversed(sources), strict=True):
            assert (entry["bytes"], entry["sha256"]) == (source.stat().st_size, manifest.sha256(source))
            assert entry["parquet_sha256"] == manifest.sha256(tmp_path / "out" / "code_alpaca" / entry["parquet"])


def test_changed_source_replaces_its_records(tmp_path: Path) -> None:
    """Converted again, a file's records, entry and rejected rows are those of its new content."""
    for rows in ([GOOD["dolly"], None], [GOOD["dolly"], GOOD["dolly"]]):
        path = lines(tmp_path / "rows.jsonl", rows)
        canonical.convert_file("dolly", path, tmp_path / "out", reading("dolly"))
    assert [(e.rows, e.records) for e in manifest.entries(tmp_path / "out" / "dolly")] == [(2, 2)]
    assert (tmp_path / "out" / "dolly" / "rejected.jsonl").read_text() == ""


@pytest.mark.parametrize(("options", "outputs"), [({}, ["Because."]), ({"answers": "both"}, ["Because.", "No idea."])])
def test_both_answers_are_two_records_of_one_group(tmp_path: Path, options: dict, outputs: list[str]) -> None:
    """With both, rows in count answers, and the two of a question share their group; the manifest says which."""
    path = lines(tmp_path / "rows.jsonl", [GOOD["web_gpt"]])
    entry = canonical.convert_file("web_gpt", path, tmp_path, reading("web_gpt", **options))
    records = list(canonical.read("web_gpt", tmp_path / "web_gpt" / "rows.parquet"))
    assert [r.output for r in records] == outputs
    assert {r.group for r in records} == {"why"}
    assert (entry.rows, entry.options) == (len(outputs), {"answers": options.get("answers", "preferred")})


def test_upstream_parquet_is_upstream(tmp_path: Path) -> None:
    """Parquet with other columns goes through the converter, as the hub's flattened WebGPT and iCliniq do."""
    pq.write_table(pa.Table.from_pylist([FLAT]), tmp_path / "0000.parquet")
    entry = canonical.convert_file("web_gpt", tmp_path / "0000.parquet", tmp_path / "out", reading("web_gpt"))
    assert entry.records == 1
    assert [r.output for r in read(["web_gpt"], str(tmp_path / "0000.parquet")).records] == ["A1"]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_malformed_file_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A malformed file is named, and neither it nor an older conversion leaves a trace or is touched."""
    path = tmp_path / name
    path.write_bytes(b'[{"instruction": "a", "output": "b"}\n{"instr')
    with pytest.raises(ValueError, match=rf"{name}:\d+: malformed"):
        canonical.convert_file("auto_cot", path, tmp_path / "out", reading("auto_cot"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "none.jsonl", "none.jsonl: no such file"),
        (lambda p: p, "is a folder"),
        (lambda p: lines(p / "rows.txt", [{}]), "must be one of .json, .jsonl, .parquet, .arrow, .csv"),
        (lambda p: lines(p / "rows.jsonl", []), "no row in it"),
    ],
)
def test_source_must_be_a_file_with_rows(tmp_path: Path, make: Any, message: str) -> None:
    """A missing, empty, foreign source or a folder is an error that says which."""
    with pytest.raises(ValueError, match=message):
        canonical.convert_file("dolly", make(tmp_path), tmp_path / "out", reading("dolly"))


def test_two_sources_never_share_a_parquet_file(tmp_path: Path) -> None:
    """rows.json does not overwrite what came from rows.jsonl."""
    first = lines(tmp_path / "rows.jsonl", [GOOD["dolly"]])
    second = lines(tmp_path / "rows.json", [GOOD["dolly"]])
    canonical.convert_file("dolly", first, tmp_path / "out", reading("dolly"))
    with pytest.raises(ValueError, match=r"rows\.json: .*rows\.parquet holds the records of rows\.jsonl"):
        canonical.convert_file("dolly", second, tmp_path / "out", reading("dolly"))


def test_canonical_files_are_not_converted_again(tmp_path: Path) -> None:
    """What is converted already, and an output folder that is the source folder, are refused."""
    lines(tmp_path / "up" / "dolly" / "rows.jsonl", [GOOD["dolly"]])
    with pytest.raises(ValueError, match="needs a folder of its own"):
        canonical.convert_all(tmp_path / "up", tmp_path / "up", reading, lambda task, entry: None)
    canonical.convert_all(tmp_path / "up", tmp_path / "out", reading, lambda task, entry: None)
    with pytest.raises(ValueError, match=r"rows\.parquet: is converted already"):
        canonical.convert_all(tmp_path / "out", tmp_path / "again", reading, lambda task, entry: None)
    with pytest.raises(ValueError, match="is converted already"):
        canonical.convert_file("dolly", tmp_path / "out" / "dolly" / "rows.parquet", tmp_path, reading("dolly"))


def test_folder_with_both_forms_is_refused(tmp_path: Path) -> None:
    """Converted records beside the upstream file would count twice: the error names both."""
    path = lines(tmp_path / "dolly" / "rows.jsonl", [GOOD["dolly"]])
    canonical.convert_file("dolly", path, tmp_path, reading("dolly"))
    with pytest.raises(ValueError, match=r"holds both rows\.parquet \(converted\) and rows\.jsonl"):
        read(["dolly"], str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "icliniq"}, "a record of icliniq, not of dolly"),
        ({"metadata": "{"}, "metadata is not JSON"),
        ({"metadata": None}, "metadata is not JSON"),
        ({"metadata": "[]"}, "not a canonical record"),
        ({"output": None}, "not a canonical record"),
    ],
)
def test_foreign_canonical_row_is_named(tmp_path: Path, change: dict, message: str) -> None:
    """A file with our columns but not our content is refused with file and row."""
    row = dict.fromkeys(canonical.COLUMNS, "x") | {"task": "dolly", "metadata": "{}"}
    schema = pa.schema({c: pa.string() for c in canonical.COLUMNS}, metadata=canonical.VERSION)
    table = pa.Table.from_pylist([row, row | change], schema=schema)
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=rf"rows\.parquet:2: {message}"):
        list(canonical.read("dolly", tmp_path / "rows.parquet"))


def test_records_grouped_by_another_version_are_refused(tmp_path: Path) -> None:
    """Groups of an older conversion would give other folds than the source itself: file and way out are named."""
    canonical.convert_file("dolly", lines(tmp_path / "rows.jsonl", [GOOD["dolly"]]), tmp_path, reading("dolly"))
    path = tmp_path / "dolly" / "rows.parquet"
    for metadata in (None, {b"data_prep.grouping": b"1"}):
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
        with pytest.raises(
            ValueError, match=r"rows\.parquet: another version .*`python -m data_prep convert` makes it again"
        ):
            read(["dolly"], str(path))


@pytest.mark.parametrize(
    ("task", "folder"), [("icliniq", "icliniq"), ("code_alpaca", "codealpaca"), ("web_gpt", "webgpt")]
)
def test_real_files_convert_to_the_same_records(tmp_path: Path, shared: Path, task: str, folder: str) -> None:
    """Of the real files too, Parquet gives the records of upstream's files, id for id and group for group."""
    done = []
    for path in sorted((shared / "data" / folder).iterdir()):
        done.append(canonical.convert_file(task, path, tmp_path, reading(task)))
    upstream, converted = read([task], str(shared / "data")), read([task], str(tmp_path))
    assert converted.records == upstream.records
    assert sum(entry.rows for entry in done) == len(upstream.records) + len(upstream.rejections)


HOSTILE = [put(GOOD[task], path, wrong) for task in TASKS for path in places(GOOD[task]) for wrong in WRONG] + [
    put(FLAT, path, wrong) for path in places(FLAT) for wrong in WRONG
]
FORMS = (
    ("rows.jsonl", lambda rows: "".join(json.dumps(r) + "\n" for r in rows).encode()),
    ("rows.json", lambda rows: json.dumps(rows, indent=1).encode()),
    ("crlf.jsonl", lambda rows: b"\xef\xbb\xbf" + "".join(json.dumps(r) + "\r\n" for r in rows).encode()),
    ("rows.jsonl.gz", lambda rows: gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())),
)


def assert_whole(task: str, path: Path, out: Path, options: dict[str, str]) -> None:
    """The file is converted with every row in its place, or refused by its name, leaving nothing."""
    try:
        entry = canonical.convert_file(task, path, out, reading(task, **options))
    except ValueError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.startswith(str(path))
        return
    records = list(canonical.read(task, out / task / entry.parquet))
    assert len(records) == entry.records == entry.rows - sum(map(len, entry.rejected.values()))
    assert all(entry.rejected)


@pytest.mark.parametrize(("name", "encode"), FORMS, ids=[name for name, _ in FORMS])
@pytest.mark.parametrize("task", TASKS)
def test_hostile_rows_are_records_or_rejected(tmp_path: Path, task: str, name: str, encode: Any) -> None:
    """Every field wrong in every way, in every form of file: each row is a record or rejected with a reason."""
    path = tmp_path / name
    path.write_bytes(encode([GOOD[task], *HOSTILE, {"instruction": "x" * 10**6, "input": "y", "output": "z" * 10**6}]))
    entry = canonical.convert_file(task, path, tmp_path, reading(task))
    assert entry.rows == len(HOSTILE) + 2
    assert_whole(task, path, tmp_path, {"answers": "both"} if task == "web_gpt" else {})


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25)
@given(
    rows=st.lists(st.sampled_from(HOSTILE) | values, max_size=6),
    form=st.sampled_from(FORMS),
    cut=st.none() | st.integers(0, 400),
    junk=st.binary(max_size=4),
)
def test_damaged_files_are_converted_or_named(
    folder: Path, task: str, rows: list[Any], form: tuple[str, Any], cut: int | None, junk: bytes
) -> None:
    """Rows of any kind in a file that may be cut off or have bytes in its middle: whole, or refused by name."""
    name, encode = form
    data = encode(rows)
    path = folder / name
    path.write_bytes(data if cut is None else data[:cut] + junk + data[cut + 1 :])
    assert_whole(task, path, folder / "out" / name, {})


def test_order_is_that_of_upstreams_files(tmp_path: Path) -> None:
    """Files whose names sort differently with another suffix keep their order, so duplicates keep their metadata."""
    rows = {"a.json": "first", "a.k.jsonl": "second"}
    for name, category in rows.items():
        row = {"instruction": "I", "response": "R", "category": category}
        (tmp_path / "up" / "dolly").mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / "dolly" / name).write_text(json.dumps([row] if name == "a.json" else row))
    canonical.convert_all(tmp_path / "up", tmp_path / "out", reading, lambda task, entry: None)
    assert read(["dolly"], str(tmp_path / "up")).records == read(["dolly"], str(tmp_path / "out")).records
    assert [tables.stem(Path(name)) for name in rows] == ["a", "a.k"]
