"""The store of records: each is written once, atomically, when its cell is finished. Loads no torch."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hycam_exp.config.settings import Run
from hycam_exp.records import lease
from hycam_exp.records.record import RunRecord, decode, encode
from hycam_exp.runtime.files import FULL, disk_error, sweep, write_atomically

MAX_FAILURES = 2
WRITTEN_BY_OTHERS = (".lease.", ".job.json.")
"""Temporary files that others than the cell's holder write into its folder: who waits for it, and a launcher."""
ABANDONED = 3600.0  # seconds


def records_folder(results: Path, study: str | None) -> Path:
    """Where run records lie in a results folder: those of a study, which are committed, or the user's own."""
    return results / "runs" if study is None else results / "studies" / study / "records"


def all_records_folders(results: Path) -> list[Path]:
    """Every folder of run records in a results folder that is there: the studies' by name, then the user's own.

    Of a study's folder (results/studies/NAME) it is the study's own alone.
    """
    studies = sorted((results / "studies").glob("*/records"))
    return [path for path in (results / "records", *studies, results / "runs") if path.is_dir()]


@dataclass(frozen=True)
class Store:
    """A folder of records, a study's or the user's own, and the folder of all else about a cell, `outputs/<run_id>`."""

    records: Path
    """See `records_folder`."""
    outputs: Path
    observer: lease.Observer = field(default_factory=lease.Observer, compare=False, repr=False)

    @classmethod
    def of(cls, run: Run) -> "Store":
        """The store that a run's record goes to, and where a finished one is looked for."""
        return cls(records_folder(Path(run.paths.results), run.study), Path(run.paths.outputs))

    def record_path(self, run_id: str) -> Path:
        return self.records / f"{run_id}.json"

    def samples_path(self, run_id: str) -> Path:
        return self.records / f"{run_id}.samples.parquet"

    def folder(self, run_id: str) -> Path:
        return self.outputs / run_id

    def check_writable(self) -> None:
        """Raise a `ValueError` that names the folder if a record or an output could not be written."""
        for name, folder in (("paths.results", self.records), ("paths.outputs", self.outputs)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as stream:
                    stream.write(bytes(4096))
            except OSError as error:
                way_out = f"make room there, or give {name}=FOLDER"
                raise ValueError(f"{name}: cannot write in {folder}: {error.strerror}; {way_out}") from error

    def unwritable(self, run_id: str, error: OSError) -> ValueError:
        """The error of a cell that can no longer write: what failed, where, and what helps."""
        where = f" ({error.filename})" if error.filename else ""  # perhaps a library's temporary file
        if disk_error(error) is None:
            return ValueError(f"{run_id}: {error}")
        mend = "make room in" if error.errno in FULL else "see that this process can write in"
        way_out = f"{mend} {self.outputs} and {self.records}, then the same command goes on"
        return ValueError(f"{run_id}: {error.strerror or error}{where}; {way_out}; what is finished is whole")

    def write(self, record: RunRecord) -> Path:
        """The record's file, complete."""
        path = self.record_path(record.run_id)
        write_atomically(path, encode(record))
        return path

    def read(self, run_id: str) -> RunRecord | None:
        """The finished cell's record; None if there is none.

        Raises:
            ValueError: the file is not a whole record, or of another schema; names the field.
        """
        path = self.record_path(run_id)
        if not path.is_file():
            return None
        try:
            return decode(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not a whole run record ({error}); move it away to run the cell again") from error

    def stamp(self, run_id: str) -> str | None:
        """A stamp that changes when a cell's record is written anew; None where there is no record."""
        try:
            found = self.record_path(run_id).stat()
        except FileNotFoundError:
            return None
        return f"{found.st_ino}-{found.st_mtime_ns}"

    def failures(self, run_id: str) -> list[dict[str, Any]]:
        """What went wrong in earlier attempts at a cell."""
        path = self.folder(run_id) / "failures.jsonl"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        return [_failure(line) for line in lines]

    def add_failure(self, run_id: str, error: BaseException) -> None:
        """Append an attempt's error to the cell's failures."""
        entry = {
            "attempt": len(self.failures(run_id)) + 1,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "error": type(error).__name__,
            "message": str(error),
        }
        path = self.folder(run_id) / "failures.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = path.is_file() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n" * cut + json.dumps(entry) + "\n")

    def is_locked(self, run_id: str) -> bool | None:
        """Whether a process holds a cell, here or on another host; None while that is not known."""
        return lease.is_held(self.folder(run_id), self.observer)

    @contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        """Hold a cell, for as long as it is run; what attempts that were killed have left half-written is removed.

        Raises:
            ValueError: another process holds it; says which. Or the folder cannot be locked.
        """
        folder = self.folder(run_id)
        with lease.held(folder, run_id):
            left = [*self.records.glob(f".{run_id}.*"), *folder.rglob(".*")]
            others = [path for path in left if path.name.startswith(WRITTEN_BY_OTHERS)]
            sweep(set(left) - set(others))
            sweep(others, quiet=ABANDONED)
            yield


def _failure(line: str) -> dict[str, Any]:
    """An entry of the failures; a line that was cut off still counts as one."""
    try:
        return json.loads(line)
    except ValueError:
        return {"error": None, "message": line}
