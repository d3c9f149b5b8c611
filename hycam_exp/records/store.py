"""The run record and the store that holds it: written once, atomically, when a cell is finished.

Standard library only, so that a report reads records without torch.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hycam_exp.records import lease
from hycam_exp.runtime.files import FULL, disk_error, sweep, write_atomically

SCHEMA_VERSION = 1
MAX_FAILURES = 2
WRITTEN_BY_OTHERS = (".lease.", ".job.json.")
"""Temporary names in a cell's folder of those who do not hold it: who would hold it, and a launcher."""
ABANDONED = 3600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of a run; `value` is None where it was not measured or is undefined, `n` how much it is over."""

    task: str
    metric: str
    value: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that a report needs of a finished cell. Absent is None."""

    schema_version: int
    run_id: str
    config: dict[str, Any]
    scores: list[Score]
    metrics: dict[str, dict[str, str]]
    """The declaration of every metric in `scores`: direction, aggregation, version."""
    curves: dict[str, list[dict[str, float]]]
    fit: dict[str, Any]
    routing: list[dict[str, Any]]
    """What the method's router did in the best validation, by layer and task; empty for a method without one."""
    counts: dict[str, Any]
    cost: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    versions: dict[str, str]
    notes: list[str]
    results_version: int = 1
    """What its numbers mean: `records.version.RESULTS_VERSION` of the code that made it; 1 for records without it."""
    weights: str | None = None
    """Where the backbone's weights come from: `hub_id@revision`, or the GGUF file's type; None where only their content
    is known."""

    def score(self, metric: str, task: str) -> float | None:
        """The value of one score; None where the run has none."""
        return next((s.value for s in self.scores if s.metric == metric and s.task == task), None)


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
        """What a person needs to know when a cell could not write on."""
        where = f" ({error.filename})" if error.filename else ""  # perhaps a library's temporary file
        if disk_error(error) is None:
            return ValueError(f"{run_id}: {error}")
        mend = "make room in" if error.errno in FULL else "see that this process can write in"
        way_out = f"{mend} {self.outputs} and {self.records}, then the same command goes on"
        return ValueError(f"{run_id}: {error.strerror or error}{where}; {way_out}; what is finished is whole")

    def write(self, record: RunRecord) -> Path:
        """The record's file, complete."""
        path = self.record_path(record.run_id)
        text = json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(path, text.encode())
        return path

    def read(self, run_id: str) -> RunRecord | None:
        """The finished cell's record; None if there is none.

        Raises:
            ValueError: the file is not a whole record, or of a newer schema.
        """
        path = self.record_path(run_id)
        if not path.is_file():
            return None
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            version = fields["schema_version"]
            if version <= SCHEMA_VERSION:
                return RunRecord(**{**fields, "scores": [Score(**row) for row in fields["scores"]]})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a whole run record ({error}); move it away to run the cell again") from error
        raise ValueError(f"{path}: schema version {version} is newer than this software's {SCHEMA_VERSION}")

    def stamp(self, run_id: str) -> str | None:
        """What tells a cell's record from one that is written in its place; None where there is none."""
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
