"""Fetching, from a hub that is a function: verified, resumed, said by hand when offline."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep import fetch
from data_prep.fetch import REMOTES, Remote, Unreachable

CONTENT = b'{"instruction": "a", "response": "b"}\n'
SHA = hashlib.sha256(CONTENT).hexdigest()


class Hub:
    """A hub that gives each file's bytes, or breaks."""

    def __init__(self, content: bytes = CONTENT, error: Exception | None = None) -> None:
        self.content, self.error, self.asked = content, error, []

    def __call__(self, remote: Remote, partial: Path) -> Path:
        self.asked.append(remote.file)
        if self.error:
            (partial / "half").write_bytes(b"half")
            raise self.error
        path = partial / Path(remote.file).name
        path.write_bytes(self.content)
        return path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said; dolly's file is pinned to the content above, code_alpaca's to nothing."""
    monkeypatch.setitem(REMOTES, "dolly", replace(REMOTES["dolly"], sha256=SHA))
    return []


def test_every_set_is_pinned() -> None:
    """The five sets and the retention text have a full revision, and a checksum but for the one nobody confirmed."""
    assert list(REMOTES) == ["auto_cot", "icliniq", "dolly", "code_alpaca", "web_gpt", "retention"]
    assert all(len(r.revision) == 40 and set(r.revision) <= set("0123456789abcdef") for r in REMOTES.values())
    assert [name for name, r in REMOTES.items() if r.sha256 is None] == ["code_alpaca"]
    assert all(len(r.sha256) == 64 for r in REMOTES.values() if r.sha256)


def test_auto_cot_is_the_authors_file(shared: Path) -> None:
    """The pinned checksum is that of the file at hand."""
    path = shared / "data" / "auto_cot" / "Auto-CoT.json"
    assert REMOTES["auto_cot"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_verified_file_takes_its_place(tmp_path: Path, said: list[str]) -> None:
    """A file with the pinned checksum lies in its folder, nothing else is left, and it is not asked for again."""
    hub = Hub()
    assert fetch.fetch(["dolly"], tmp_path, said.append, hub) == 0
    assert fetch.fetch(["dolly"], tmp_path, said.append, hub) == 0
    place = tmp_path / "dolly" / "databricks-dolly-15k.jsonl"
    assert place.read_bytes() == CONTENT
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [place]
    assert hub.asked == ["databricks-dolly-15k.jsonl"]
    assert [line.split(", SHA")[0] for line in said] == [f"dolly: {place} fetched", f"dolly: {place} is there"]


def test_wrong_file_never_takes_its_place(tmp_path: Path, said: list[str]) -> None:
    """Another checksum is an error that names both; the download is thrown away."""
    assert fetch.fetch(["dolly"], tmp_path, said.append, Hub(b"other")) == 1
    assert SHA in said[0]
    assert hashlib.sha256(b"other").hexdigest() in said[0]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_present_file_that_differs_is_kept_and_named(tmp_path: Path, said: list[str]) -> None:
    """A file of the user's is never overwritten."""
    place = tmp_path / "dolly" / "databricks-dolly-15k.jsonl"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    assert fetch.fetch(["dolly"], tmp_path, said.append, Hub()) == 1
    assert place.read_bytes() == b"mine"
    assert "move it away" in said[0]


def test_unknown_checksum_is_recorded_and_holds(tmp_path: Path, said: list[str]) -> None:
    """Without a pinned checksum the found one is kept beside the data, said, and verified from then on."""
    assert fetch.fetch(["code_alpaca"], tmp_path, said.append, Hub()) == 0
    assert "not verified: no checksum is known" in said[0]
    assert json.loads((tmp_path / "fetch.lock").read_text())["code_alpaca"]["sha256"] == SHA
    assert fetch.fetch(["code_alpaca"], tmp_path, said.append, Hub()) == 0
    assert said[1].endswith("as recorded")
    (tmp_path / "code_alpaca" / "code_alpaca_20k.json").write_bytes(b"changed")
    assert fetch.fetch(["code_alpaca"], tmp_path, said.append, Hub()) == 1
    (tmp_path / "code_alpaca" / "code_alpaca_20k.json").unlink()
    assert fetch.fetch(["code_alpaca"], tmp_path, said.append, Hub(b"changed")) == 1


def test_offline_says_all_by_hand_and_asks_once(tmp_path: Path, said: list[str]) -> None:
    """Without network each missing set has a line with address and place; the hub is tried only once."""
    place = tmp_path / "dolly" / "databricks-dolly-15k.jsonl"
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    hub = Hub(error=Unreachable("no route"))
    assert fetch.fetch(REMOTES, tmp_path, said.append, hub) == 5
    assert len(said) == 6
    assert hub.asked == [REMOTES["auto_cot"].file]
    for name, line in zip(REMOTES, said, strict=True):
        if name == "dolly":
            assert "is there" in line
        else:
            assert REMOTES[name].url in line
            assert str(tmp_path / REMOTES[name].folder / REMOTES[name].saved_as) in line


def test_refused_file_does_not_stop_the_others(tmp_path: Path, said: list[str]) -> None:
    """When the hub answers but gives no file, the next set is still asked for."""
    hub = Hub(error=ValueError("404"))
    assert fetch.fetch(["dolly", "code_alpaca"], tmp_path, said.append, hub) == 2
    assert len(hub.asked) == 2


def test_interrupted_download_is_gone_on_with(tmp_path: Path, said: list[str]) -> None:
    """What was downloaded before an interruption is there when the next attempt begins."""
    fetch.fetch(["dolly"], tmp_path, said.append, Hub(error=Unreachable("lost")))
    seen = []

    def hub(remote: Remote, partial: Path) -> Path:
        seen.append((partial / "half").read_bytes())
        return Hub()(remote, partial)

    assert fetch.fetch(["dolly"], tmp_path, said.append, hub) == 0
    assert seen == [b"half"]


def test_folder_under_another_name_is_used(tmp_path: Path, said: list[str]) -> None:
    """A task's file goes to the folder that the task has already."""
    (tmp_path / "CodeAlpaca").mkdir()
    assert fetch.fetch(["code_alpaca"], tmp_path, said.append, Hub()) == 0
    assert (tmp_path / "CodeAlpaca" / "code_alpaca_20k.json").is_file()


def test_member_of_an_archive_is_kept_alone(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the retention archive the test text alone is verified and kept; another archive is an error."""
    monkeypatch.setitem(REMOTES, "retention", replace(REMOTES["retention"], sha256=SHA))
    assert fetch.fetch(["retention"], tmp_path, said.append, Hub(b"no archive")) == 1
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("wikitext-2-raw/wiki.test.raw", CONTENT)
    hub = Hub((tmp_path / "w.zip").read_bytes())
    assert fetch.fetch(["retention"], tmp_path, said.append, hub) == 0
    assert (tmp_path / "retention" / "wikitext-2-test.txt").read_bytes() == CONTENT
