"""Records from where they lie: upstream files through their converters, or the generated mini set.

The one module that imports data_prep.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from data_prep import upstream
from data_prep.conversion import convert
from hycam_exp.data.records import Record, Rejection, identified

TASKS = ("auto_cot", "icliniq", "dolly", "code_alpaca", "web_gpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was read: its name, size in bytes and hash."""

    task: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Everything that a data mix holds before folds and lengths: records, rejected rows and files."""

    records: list[Record]
    rejections: list[Rejection]
    sources: list[Source]


def rejection_counts(rejections: Sequence[Rejection]) -> dict[str, int]:
    """How many rows were rejected for each task and reason."""
    return dict(sorted(Counter(f"{r.task}: {r.reason}" for r in rejections).items()))


def read(tasks: Sequence[str], root: str | None) -> Collection:
    """All records of the tasks, in order of content.

    Raises:
        ValueError: a task is unknown, a file is missing, empty or malformed, or no record is left.
    """
    converted: list[Record | Rejection] = []
    sources: list[Source] = []
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"data.tasks={task}: must be one of {', '.join(TASKS)}")
        if root is None:
            converted += _generated(task)
            continue
        for path in _files(task, Path(root), alone=len(tasks) == 1):
            sources.append(_source(task, path))
            converted += convert(task, upstream.rows(path), str(path), _fields(task))
        if not any(isinstance(c, Record) and c.task == task for c in converted):
            _refuse(task, [c for c in converted if isinstance(c, Rejection) and c.task == task], root)
    records = identified(c for c in converted if isinstance(c, Record))
    rejections = [c for c in converted if isinstance(c, Rejection)]
    assert len(records) + len(rejections) == len(converted), "a row was lost"
    return Collection(records=records, rejections=rejections, sources=sources)


def _fields(task: str):
    return import_module(f"data_prep.{task}").fields


def _generated(task: str) -> Iterator[Record | Rejection]:
    from data_prep import mini

    return convert(task, enumerate(mini.rows(task), start=1), "generated", _fields(task))


def _refuse(task: str, rejections: list[Rejection], root: str) -> None:
    if rejections:
        first = rejections[0]
        raise ValueError(
            f"{first.source}:{first.line}: {first.reason}; all {len(rejections)} rows of {task} were rejected"
        )
    raise ValueError(f"{root}: no row of {task} in it")


def _files(task: str, root: Path, alone: bool) -> list[Path]:
    """The upstream files of a task: in root/<task>, or for a single task in root, which may be a file itself."""
    if root.is_file() and alone:
        return [root]
    folder = root / task
    if not folder.is_dir() and alone:
        folder = root
    if not folder.is_dir():
        raise ValueError(f"data.root={root}: no folder {folder} with the files of {task}")
    found = sorted(p for p in folder.iterdir() if p.suffix in upstream.SUFFIXES and p.is_file())
    if not found:
        raise ValueError(f"data.root={root}: no file of {task} in {folder} ({' or '.join(upstream.SUFFIXES)})")
    return found


def _source(task: str, path: Path) -> Source:
    data = path.read_bytes()
    if not data.strip():
        raise ValueError(f"{path}: the file is empty")
    return Source(task=task, name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
