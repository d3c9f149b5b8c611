"""The store of run records: whole or absent, locked by one process, refused by name where it cannot be read."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hycam_exp.records.store import SCHEMA_VERSION, RunRecord, Score, Store, all_records_folders, records_folder
from hycam_exp.runtime.files import write_atomically

RECORD = RunRecord(
    schema_version=SCHEMA_VERSION,
    run_id="tiny-lora-mini-f0-s1-0123abcd",
    config={"data": {"tasks": ["dolly"]}, "path": "é世"},
    scores=[Score(task="dolly", metric="ppl", value=2.5, n=3), Score(task="mean", metric="ppl", value=None, n=1)],
    metrics={"ppl": {"better": "lower", "aggregation": "a", "version": "1"}},
    curves={"train": [{"step": 1, "loss": 0.1 + 0.2}], "validation": []},
    fit={"steps": 1, "stopped_early": False},
    routing=[],
    counts={"parameters_total": 10**15},
    cost={"seconds": {"train": 1e-300}},
    data={"files": []},
    code={"commit": None, "dirty": None},
    versions={"python": "3"},
    notes=["a note\nof two lines"],
)
ID = RECORD.run_id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "records", tmp_path / "outputs")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_record_is_read_as_it_was_written(store: Store) -> None:
    """Every number and text comes back exactly, absent ones as None."""
    assert store.write(RECORD) == store.record_path(ID)
    assert store.read(ID) == RECORD


def test_places(store: Store) -> None:
    """Record and samples lie in the folder of records under the run's id, everything else in outputs/<run_id>."""
    assert store.record_path(ID) == store.records / f"{ID}.json"
    assert store.samples_path(ID) == store.records / f"{ID}.samples.parquet"
    assert store.folder(ID) == store.outputs / ID


def test_a_study_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """A user's own runs lie in results/runs, a study's in results/studies/NAME/records, and nothing finds both."""
    own, study = records_folder(tmp_path, None), records_folder(tmp_path, "mini")
    assert (own, study) == (tmp_path / "runs", tmp_path / "studies" / "mini" / "records")
    assert all_records_folders(tmp_path) == []
    for folder in (own, study):
        folder.mkdir(parents=True)
    assert all_records_folders(tmp_path) == [study, own]
    assert all_records_folders(study.parent) == [study]
    Store(study, tmp_path).write(RECORD)
    assert Store(own, tmp_path).read(ID) is None


def test_unfinished_cell_has_no_record(store: Store) -> None:
    """Where nothing was written there is None, not an error."""
    assert store.read(ID) is None


def test_score_of_a_task(store: Store) -> None:
    """A value, or None where it was not measured or is not there."""
    assert [RECORD.score("ppl", task) for task in ("dolly", "mean", "web_gpt")] == [2.5, None, None]
    assert RECORD.score("bleu4", "dolly") is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_none_is_refused(store: Store, value: float) -> None:
    """NaN and infinity are no JSON: a record with them is not written at all."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(replace(RECORD, scores=[Score(task="dolly", metric="ppl", value=value, n=3)]))
    assert files(store.records) == []


def test_truncated_record_is_named(store: Store) -> None:
    """A record cut at any byte is refused with its file and what to do."""
    path = store.write(RECORD)
    content = path.read_bytes()
    for cut in range(0, len(content) - 2, 7):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=rf"{ID}\.json: not a whole run record .*; move it away"):
            store.read(ID)


def without(name: str) -> dict:
    """The record as JSON, one of its fields left out."""
    return {key: value for key, value in asdict(RECORD).items() if key != name}


@pytest.mark.parametrize(
    "content",
    [
        [], 7, None, "text", {}, {"schema_version": SCHEMA_VERSION}, {"schema_version": "1"}, {"schema_version": None},
        without("scores"), without("notes"), {**asdict(RECORD), "scores": [{"task": "dolly"}]},
        {**asdict(RECORD), "scores": 3}, {**asdict(RECORD), "unknown": 1},
    ],
)  # fmt: skip
def test_file_that_is_no_record_is_named(store: Store, content: object) -> None:
    """JSON that is not a run record of this schema is refused with its file."""
    path = store.record_path(ID)
    write_atomically(path, json.dumps(content).encode())
    with pytest.raises(ValueError, match=rf"{ID}\.json: not a whole run record"):
        store.read(ID)


def test_newer_schema_is_named(store: Store) -> None:
    """A record of later software is refused with both versions, whatever else is in it."""
    write_atomically(store.record_path(ID), json.dumps({"schema_version": SCHEMA_VERSION + 1, "new": 1}).encode())
    with pytest.raises(ValueError, match=f"schema version {SCHEMA_VERSION + 1} is newer than this software's"):
        store.read(ID)


@pytest.mark.parametrize(("folder", "field"), [("records", "results"), ("outputs", "outputs")])
def test_unwritable_folder_is_named(tmp_path: Path, folder: str, field: str) -> None:
    """A folder that cannot be made is named with its setting, before anything is computed."""
    (tmp_path / "file").write_text("not a folder")
    places = {"records": tmp_path / "records", "outputs": tmp_path / "outputs", folder: tmp_path / "file" / folder}
    with pytest.raises(ValueError, match=rf"paths\.{field}: cannot write in .*file.{folder}.*: Not a directory"):
        Store(**places).check_writable()


def test_check_leaves_the_folders_empty(store: Store) -> None:
    """Asking whether a folder can be written in makes it and leaves nothing in it."""
    store.check_writable()
    assert (files(store.records), files(store.outputs)) == ([], [])


def test_failures_are_appended(store: Store) -> None:
    """Each attempt's error is a line of its own with its number, kind and message."""
    assert store.failures(ID) == []
    with store.lock(ID):
        store.add_failure(ID, ValueError("first\nof two lines, é世"))
        store.add_failure(ID, MemoryError())
    found = store.failures(ID)
    assert [(f["attempt"], f["error"], f["message"]) for f in found] == [
        (1, "ValueError", "first\nof two lines, é世"),
        (2, "MemoryError", ""),
    ]
    assert len((store.folder(ID) / "failures.jsonl").read_text().split("\n")) == 3
    assert store.failures("another") == []


HOLDER = """
import sys
from pathlib import Path
from hycam_exp.records.store import Store
with Store(Path(sys.argv[1]), Path(sys.argv[2])).lock(sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(store: Store) -> Iterator[subprocess.Popen]:
    """Another process that holds the cell until its input is closed."""
    command = [sys.executable, "-c", HOLDER, str(store.records), str(store.outputs), ID]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_lock_of_another_process_is_refused_with_its_id(store: Store) -> None:
    """While another process runs a cell it is refused here, with that process's number; another cell is not."""
    with holder(store) as process:
        with pytest.raises(ValueError, match=rf"{ID} is being run by process {process.pid} on "), store.lock(ID):
            pytest.fail("two processes hold one cell")
        with store.lock("another"):
            pass
        assert process.poll() is None
        process.communicate("")
    assert process.returncode == 0
    with store.lock(ID):
        assert (store.folder(ID) / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_lock_of_a_killed_process_is_free(store: Store) -> None:
    """A process that was killed holds nothing: the cell can be run again at once."""
    with holder(store) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with store.lock(ID):
            pass


def test_lock_is_released_by_an_error(store: Store) -> None:
    """A cell that failed can be run again, and within one process no cell is held twice."""

    def fail() -> None:
        with pytest.raises(ValueError, match=f"is being run by process {os.getpid()}"), store.lock(ID):
            pytest.fail("one cell is held twice")
        raise RuntimeError

    with pytest.raises(RuntimeError), store.lock(ID):
        fail()
    with store.lock(ID):
        pass


def test_what_killed_attempts_left_is_swept_when_the_cell_is_held(store: Store) -> None:
    """Temporary files of the cell, its record and samples go; other cells' stay, and what is whole; a launcher's and
    who would hold the cell's, too, until nobody can be writing them any more."""
    hexadecimal = "0123456789abcdef" * 2
    folder = store.folder(ID)
    left = [
        store.records / f".{ID}.json.{hexadecimal}", store.records / f".{ID}.samples.parquet.{hexadecimal}",
        folder / f".attempt.json.{hexadecimal}", folder / "training" / f".last.ckpt.sha256.{hexadecimal}",
        folder / f".job.json.{'a' * 32}", folder / f".lease.{'a' * 32}",
    ]  # fmt: skip
    kept = [
        store.records / f".another.json.{hexadecimal}", store.record_path("another"), folder / "attempt.json",
        folder / ".config.json", folder / f".job.json.{hexadecimal}", folder / f".lease.{hexadecimal}",
    ]  # fmt: skip
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    for path in left[-2:]:
        os.utime(path, (0, 0))
    with store.lock(ID):
        assert [path for path in (*left, *kept) if path.exists()] == kept


def test_a_failures_file_that_was_cut_off_still_counts_and_is_appended_to(tmp_path):
    """Half a line is a failure without details, and the next entry starts on a line of its own."""
    store = Store(tmp_path / "records", tmp_path / "outputs")
    path = store.folder("cell") / "failures.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"attempt": 1, "mess')
    store.add_failure("cell", ValueError("second"))
    assert [entry["message"] for entry in store.failures("cell")] == ['{"attempt": 1, "mess', "second"]
