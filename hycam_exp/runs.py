"""The run record and the store that holds it: written once, atomically, when a cell is finished.

Standard library only, so that a report reads records without torch.
"""

import errno
import fcntl
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from hycam_exp import lease

SCHEMA_VERSION = 1
MAX_FAILURES = 2
PACKAGE = Path(__file__).parent
RECORDED_PACKAGES = (
    "torch", "pytorch-lightning", "transformers", "tokenizers", "peft", "hydra-core", "omegaconf", "sacrebleu",
    "rouge-score", "rapidfuzz", "numpy",
)  # fmt: skip


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

    def score(self, metric: str, task: str) -> float | None:
        """The value of one score; None where the run has none."""
        return next((s.value for s in self.scores if s.metric == metric and s.task == task), None)


def write_atomically(path: Path, content: bytes) -> None:
    """The whole content under its name, or nothing: a temporary file in the same folder, synced and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO)


def disk_error(error: BaseException) -> OSError | None:
    """The file system's fault behind an error, in whatever form a library passes it on; None if it is none."""
    if isinstance(error, OSError):
        return error if error.errno in (*FULL, *CLOSED) else None
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full) if full in str(error) else None


@dataclass(frozen=True)
class Store:
    """The folder of records, `results/runs`, and the folder of everything else about a cell, `outputs/<run_id>`."""

    results: Path
    outputs: Path
    observer: lease.Observer = field(default_factory=lease.Observer, compare=False, repr=False)

    def record_path(self, run_id: str) -> Path:
        return self.results / "runs" / f"{run_id}.json"

    def samples_path(self, run_id: str) -> Path:
        return self.results / "runs" / f"{run_id}.samples.parquet"

    def folder(self, run_id: str) -> Path:
        return self.outputs / run_id

    def check_writable(self) -> None:
        """Raise a `ValueError` that names the folder if a record or an output could not be written."""
        for name, folder in (("paths.results", self.results / "runs"), ("paths.outputs", self.outputs)):
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
        way_out = f"{mend} {self.outputs} and {self.results}, then the same command goes on"
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
        """Whether a process holds a cell, here or on another host; None while that is not known: of another host's
        lease this store must see a beat, or see it stand still for long enough."""
        path = self.folder(run_id) / "lock"
        if not path.is_file():
            return False
        with path.open("a") as stream:
            if not _flocked(stream):
                return True
            sight = self.observer.look(path.parent)
            return False if sight.holder is None else sight.beating or None

    @contextmanager
    def lock(self, run_id: str) -> Iterator[None]:
        """Hold a cell, on this host by flock and before other hosts by a lease.

        Raises:
            ValueError: another process holds it; says which. Or the folder cannot be locked.
        """
        path = self.folder(run_id) / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as stream:
            if not _flocked(stream, patience=0.5):  # who only asks whether it is locked, holds it for a moment
                stream.seek(0)
                raise ValueError(f"{run_id} is being run by {stream.read().strip() or 'another process'}")
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
            with lease.held(path.parent, run_id):
                yield


def _flocked(stream: IO[str], patience: float = 0.0) -> bool:
    """Lock the open file for this process; false if another process has it, for `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        except OSError as error:
            raise ValueError(f"paths.outputs: {stream.name} cannot be locked: {error.strerror}") from error


def _failure(line: str) -> dict[str, Any]:
    """An entry of the failures; a line that was cut off still counts as one."""
    try:
        return json.loads(line)
    except ValueError:
        return {"error": None, "message": line}


def provenance() -> dict[str, Any]:
    """The commit, and whether the checkout differs from it; None where there is no git."""
    root = PACKAGE.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--", "hycam_exp", "data_prep", "conf") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def versions() -> Mapping[str, str]:
    """Python's and the deciding packages' versions."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
