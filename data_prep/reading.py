"""The records of a task from where they lie: the one function of data_prep that training calls.

E.g. `read("dolly", "data")` reads data/dolly, be it upstream's files or what `convert` made of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep import canonical, folders, generic, manifest, mini, tables, tasks
from data_prep.tasks import TASKS, Reading
from hycam_exp.data.records import Record, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of a task: a record or a rejection for every row of its files."""

    records: list[Record]
    rejections: list[Rejection]
    files: list[Path]


def read(task: str, root: str | None, mapping: Mapping[str, str | None] | None = None, alone: bool = True) -> Found:
    """The records of a task, in the order of its files and their rows.

    `root` is a folder with a folder for each task (None: the mini set's); for a task `alone`, also that task's folder
    or file. `mapping` gives the names of the fields of a set of one's own.

    Raises:
        ValueError: the task is unknown, a file is missing, empty or malformed, or no record is left.
    """
    if root is not None and not root.strip():
        raise ValueError(f"data.root={root}: is empty; it names a folder or file (null: the generated mini set)")
    reading = _reading(task, root, mapping)
    place = mini.RECORDS if root is None else Path(root)
    converted, upstream = _files(task, place, alone)
    if upstream and reading is None:
        raise ValueError(
            f"data.tasks={task}: must be one of {', '.join(TASKS)}, be converted, or have its fields in data.fields:"
            f" +data.fields.{task}.instruction=FIELD +data.fields.{task}.output=FIELD"
        )
    results: list[Record | Rejection] = []
    for path in converted:
        results += canonical.read(task, path)
    for path in upstream:
        assert reading is not None, "checked above"
        results += canonical.of_file(task, path, str(path), reading)
    if converted and not place.is_file():
        results += manifest.rejections(converted[0].parent, task)
    found = Found(
        records=[r for r in results if isinstance(r, Record)],
        rejections=[r for r in results if isinstance(r, Rejection)],
        files=converted + upstream,
    )
    if not found.records:
        _refuse(task, found, place)
    return found


def _reading(task: str, root: str | None, mapping: Mapping[str, str | None] | None) -> Reading | None:
    """How a task's upstream rows are read; None for a task that there can only be canonical Parquet of."""
    if root is None and task not in mini.TASKS:
        key = f"data.tasks={task}" if mapping is None else f"data.fields.{task}"
        known = ", ".join((*mini.TASKS, *TASKS))
        way = (
            "needs data.root, the file or folder to read"
            if mapping is not None or task in TASKS
            else f"must be one of {known}"
        )
        raise ValueError(f"{key}: {way}")
    if mapping is not None:
        return generic.reading(mapping, f"data.fields.{task}")
    return tasks.reading(task) if task in TASKS else None


def _files(task: str, root: Path, alone: bool) -> tuple[list[Path], list[Path]]:
    """The canonical and the other files of a task."""
    folder = folders.folder_of(task, root) or (root if alone else root / task)
    suffixes = tables.SUFFIXES if task in TASKS else tables.ALL_SUFFIXES
    if root.is_file() and alone:
        found = [root]
    elif not folder.is_dir():
        raise ValueError(
            f"data.root={root}: no folder {folder} with the files of {task}; {_way_out(task, root, alone)}"
        )
    else:
        found = folders.data_files(folder, suffixes)
    if not found:
        raise ValueError(
            f"data.root={root}: no file of {task} in {folder} ({' or '.join(suffixes)}); {_way_out(task, root, alone)}"
        )
    converted = [path for path in found if canonical.is_canonical(path)]
    upstream = [path for path in found if path not in converted]
    if converted and upstream:
        raise ValueError(f"{folder}: holds both {converted[0].name} (converted) and {upstream[0].name}; keep one")
    return converted, upstream


def _way_out(task: str, root: Path, alone: bool) -> str:
    """How a task's files come to where they are looked for, or are looked for where they are."""
    if task in mini.TASKS:
        return f"data.root=null has those of {task}, or `python -m data_prep.mini --out {root}` makes others"
    own = f"data.root={'DIR, or FILE,' if alone else 'DIR'} names where yours lie"
    if task not in TASKS:
        return own
    return f"`python -m data_prep fetch {f'{task} ' if alone else ''}--root {root}` gets them, or {own}"


def _refuse(task: str, found: Found, root: Path) -> None:
    if not found.rejections:
        raise ValueError(f"{root}: no record of {task} in it")
    first = found.rejections[0]
    raise ValueError(
        f"{first.source}:{first.line}: {first.reason}; all {len(found.rejections)} rows of {task} were rejected"
    )
