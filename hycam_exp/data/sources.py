"""Records from where they lie: canonical Parquet, upstream files through their converters, or the generated mini set.

The one module that imports data_prep.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep import canonical, generic, manifest, tables, tasks
from data_prep.conversion import convert
from data_prep.tasks import TASKS, Reading
from hycam_exp.data.records import Record, Rejection, identified

Fields = Mapping[str, Mapping[str, str | None]]


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


def read(names: Sequence[str], root: str | None, fields: Fields | None = None) -> Collection:
    """All records of the tasks, in order of content; `fields` maps the fields of a user's own tasks.

    Raises:
        ValueError: a task is unknown, a file is missing, empty or malformed, or no record is left.
    """
    converted: list[Record | Rejection] = []
    sources: list[Source] = []
    for task in names:
        reading = _reading(task, root, fields or {})
        if root is None:
            converted += _generated(task)
            continue
        found, read_files = _of_task(task, Path(root), reading, alone=len(names) == 1)
        converted += found
        sources += read_files
        if not any(isinstance(c, Record) for c in found):
            _refuse(task, [c for c in found if isinstance(c, Rejection)], root)
    records = identified(c for c in converted if isinstance(c, Record))
    rejections = [c for c in converted if isinstance(c, Rejection)]
    assert len(records) + len(rejections) == len(converted), "a row was lost"
    return Collection(records=records, rejections=rejections, sources=sources)


def _reading(task: str, root: str | None, fields: Fields) -> Reading | None:
    """How a task's upstream rows are read; None for a task that there can only be canonical Parquet of."""
    if task in fields:
        if root is None:
            raise ValueError(f"data.fields.{task}: needs data.root, the file or folder to read")
        return generic.reading(fields[task], f"data.fields.{task}")
    if task in TASKS:
        return tasks.reading(task)
    if root is None:
        raise ValueError(f"data.tasks={task}: must be one of {_known()}")
    return None


def _known() -> str:
    return ", ".join(TASKS)


def _generated(task: str) -> Iterator[Record | Rejection]:
    from data_prep.mini import generator

    return convert(task, enumerate(generator.rows(task), start=1), "generated", tasks.reading(task).fields)


def _refuse(task: str, rejections: list[Rejection], root: str) -> None:
    if rejections:
        first = rejections[0]
        raise ValueError(
            f"{first.source}:{first.line}: {first.reason}; all {len(rejections)} rows of {task} were rejected"
        )
    raise ValueError(f"{root}: no row of {task} in it")


def _of_task(
    task: str, root: Path, reading: Reading | None, alone: bool
) -> tuple[list[Record | Rejection], list[Source]]:
    """What became of each of a task's rows, and the files they are in."""
    suffixes = tables.SUFFIXES if task in TASKS else tables.ALL_SUFFIXES
    folder, converted, upstream = _files(task, root, alone, suffixes)
    if converted and upstream:
        raise ValueError(f"{folder}: holds both {converted[0].name} (converted) and {upstream[0].name}; keep one")
    if upstream and reading is None:
        raise ValueError(
            f"data.tasks={task}: must be one of {_known()}, have its fields in data.fields, or be converted"
        )
    found: list[Record | Rejection] = []
    for path in converted:
        found += canonical.read(task, path)
    for path in upstream:
        assert reading is not None, "checked above"
        found += convert(task, reading.rows(_rows(path), str(path)), str(path), reading.fields)
    if converted and folder.is_dir():
        found += manifest.rejections(folder, task)
    return found, [_source(task, path) for path in converted + upstream]


def _rows(path: Path) -> Iterable[tuple[int, object]]:
    if not path.read_bytes().strip():
        raise ValueError(f"{path}: the file is empty")
    return tables.rows(path)


def _files(task: str, root: Path, alone: bool, suffixes: Sequence[str]) -> tuple[Path, list[Path], list[Path]]:
    """Where a task lies, its canonical files and the others.

    That is a folder of the task's name in root, or for a single task root itself, which may be a file.
    """
    if root.is_file() and alone:
        return (root, [root], []) if canonical.is_canonical(root) else (root, [], [root])
    folder = tasks.folder_of(task, root) or (root if alone else root / task)
    if not folder.is_dir():
        raise ValueError(
            f"data.root={root}: no folder {folder} with the files of {task}; {_way_out(task, root, alone)}"
        )
    converted, upstream = canonical.files(folder, suffixes)
    if not converted and not upstream:
        raise ValueError(
            f"data.root={root}: no file of {task} in {folder} ({' or '.join(suffixes)}); {_way_out(task, root, alone)}"
        )
    return folder, converted, upstream


def _way_out(task: str, root: Path, alone: bool) -> str:
    """How a task's files come to where they are looked for, or are looked for where they are."""
    own = f"data.root={'DIR, or FILE,' if alone else 'DIR'} names where yours lie"
    if task not in TASKS:
        return own
    return f"`python -m data_prep fetch {f'{task} ' if alone else ''}--root {root}` gets them, or {own}"


def _source(task: str, path: Path) -> Source:
    data = path.read_bytes()
    return Source(task=task, name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
