"""What `convert` did: an entry for every source file, and every rejected row with line and reason."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hycam_exp.data.records import Rejection

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
REJECTED = "rejected.jsonl"


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """One converted source file; rows = records + the rejected ones."""

    name: str
    bytes: int
    sha256: str
    options: dict[str, str]
    rows: int
    records: int
    rejected: dict[str, list[int]]
    """Line numbers by reason."""
    parquet: str
    parquet_sha256: str


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is there wholly or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def entries(folder: Path) -> list[SourceEntry]:
    """The entries of a folder's manifest; none where there is no manifest.

    Raises:
        ValueError: the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        return [SourceEntry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest of convert ({type(error).__name__}: {error})") from error


def rejections(folder: Path, task: str) -> list[Rejection]:
    """The rejected rows of a converted folder.

    Raises:
        ValueError: the list cannot be read.
    """
    path = folder / REJECTED
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [Rejection(task=task, source=r["source"], line=r["line"], reason=r["reason"]) for r in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a list of rejected rows ({type(error).__name__}: {error})") from error


def record(folder: Path, task: str, entry: SourceEntry, rejected: Iterable[Rejection]) -> None:
    """Put an entry and its rejected rows in the place of those of the same source."""
    others = [r for r in rejections(folder, task) if r.source != entry.name]
    rows = sorted([*others, *rejected], key=lambda r: (r.source, r.line))
    lines = (json.dumps({"line": r.line, "reason": r.reason, "source": r.source}) + "\n" for r in rows)
    write(folder / REJECTED, "".join(lines).encode())
    files = sorted([*(e for e in entries(folder) if e.name != entry.name), entry], key=lambda e: e.name)
    content: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "task": task, "files": [asdict(e) for e in files]}
    write(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())
