"""The manifest: one entry a source file, rejected rows beside it, written wholly or not at all."""

import json
from pathlib import Path

import pytest

from data_prep import manifest
from data_prep.manifest import SourceEntry
from hycam_exp.data.records import Rejection


def entry(name: str, rows: int = 2, rejected: dict[str, list[int]] | None = None) -> SourceEntry:
    rejected = rejected or {}
    return SourceEntry(
        name=name, bytes=1, sha256="0", options={}, rows=rows, records=rows - sum(map(len, rejected.values())),
        rejected=rejected, parquet=f"{name}.parquet", parquet_sha256="1",
    )  # fmt: skip


def rejection(source: str, line: int, reason: str = "no output") -> Rejection:
    return Rejection(task="dolly", source=source, line=line, reason=reason)


def test_second_record_of_a_source_replaces_the_first(tmp_path: Path) -> None:
    """Entries stand in order of name, and a file's entry and rejected rows are replaced, not added to."""
    manifest.record(tmp_path, "dolly", entry("b", 3, {"no output": [3, 1]}), [rejection("b", 3), rejection("b", 1)])
    manifest.record(tmp_path, "dolly", entry("a", 1, {"x": [1]}), [rejection("a", 1, "x")])
    manifest.record(tmp_path, "dolly", entry("b", 2, {"no output": [2]}), [rejection("b", 2)])
    assert [e.name for e in manifest.entries(tmp_path)] == ["a", "b"]
    assert manifest.entries(tmp_path)[1] == entry("b", 2, {"no output": [2]})
    assert manifest.rejections(tmp_path, "dolly") == [rejection("a", 1, "x"), rejection("b", 2)]
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert lines[1] == {"line": 2, "reason": "no output", "source": "b"}


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    """A folder without a manifest has no entries and no rejected rows."""
    assert (manifest.entries(tmp_path), manifest.rejections(tmp_path, "dolly")) == ([], [])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": [{}]}', '{"files": [{"name": 1}]}', "\x00"])
def test_foreign_manifest_is_named(tmp_path: Path, content: str) -> None:
    """A manifest or list that `convert` did not write is refused by name."""
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest of convert"):
        manifest.entries(tmp_path)
    (tmp_path / "rejected.jsonl").write_text(content + "{}\n")
    with pytest.raises(ValueError, match=r"rejected\.jsonl: not a list of rejected rows"):
        manifest.rejections(tmp_path, "dolly")


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a write fails at its last step, the file is as it was and nothing lies beside it."""
    path = tmp_path / "file"
    manifest.write(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(manifest.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        manifest.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
