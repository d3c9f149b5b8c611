"""Where the files of a task lie: in a folder of tasks, in a folder of its own, or as one file.

Standard library only. E.g. `folder_of("code_alpaca", Path("data"))` is data/codealpaca or data/code_alpaca, and
`data_files(Path("data/mine"), (".parquet",))` are the Parquet files there and in data/mine/data.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep import mini, tables
from data_prep.manifest import MANIFEST, REJECTED
from data_prep.tasks import TASKS

SAVED, SPLITS, INFO = "state.json", "dataset_dict.json", "dataset_info.json"
"""What `datasets` writes beside its Arrow files: of one set, of a dictionary of sets, and of either."""
NO_DATA = (MANIFEST, REJECTED, SAVED, SPLITS, INFO, "dataset_infos.json")
"""Files that say something of a data set, and are never taken for its rows."""
SNAPSHOT = "data"
"""The sub-folder in which a snapshot of the hub has its files."""


def recognised(name: str) -> str | None:
    """The task whose folder has this name, e.g. code_alpaca for CodeAlpaca."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((task for task, about in TASKS.items() if plain in about.folders), None)


def folder_of(task: str, root: Path) -> Path | None:
    """The folder of a task in a folder of tasks, under any of its names; None where there is none.

    Raises:
        ValueError: there are two.
    """
    if not root.is_dir():
        return None
    found = sorted(p for p in root.iterdir() if p.is_dir() and task in (p.name, recognised(p.name)))
    if len(found) > 1:
        raise ValueError(f"{root}: both {found[0].name} and {found[1].name} are folders of {task}; keep one of them")
    return found[0] if found else None


def folders(root: Path) -> dict[str, Path]:
    """Every task in a folder of tasks with its folder: the five, and those that were converted or generated.

    Raises:
        ValueError: there is no such folder, or no task in it.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder")
    found = {task: folder for task in TASKS if (folder := folder_of(task, root)) is not None}
    found |= {folder.name: folder for folder in _of_users(root)}
    if not found:
        known = ", ".join(TASKS)
        raise ValueError(f"{root}: no folder of a known task in it (known are {known}, and what convert generic wrote)")
    return found


def _of_users(root: Path) -> Iterator[Path]:
    converted = {path.parent for path in root.glob(f"*/{MANIFEST}") if recognised(path.parent.name) is None}
    return iter(sorted(converted | {root / task for task in mini.TASKS if (root / task).is_dir()}))


def data_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files that hold a task's rows, in order of their names without suffix.

    Of a folder that `datasets` saved (one set, or a dictionary of them) those that it names; of any other every file
    with one of the suffixes, in it and in its sub-folder data.

    Raises:
        ValueError: what `datasets` wrote cannot be read, or a file of it is missing.
    """
    if (folder / SPLITS).is_file():
        found = [path for split in _listed(folder / SPLITS, "splits") for path in data_files(folder / split, suffixes)]
    elif (folder / SAVED).is_file() and (folder / INFO).is_file():
        found = [folder / file["filename"] for file in _listed(folder / SAVED, "_data_files")]
    else:
        places = [place for place in (folder, folder / SNAPSHOT) if place.is_dir()]
        found = sorted(
            (p for place in places for p in place.iterdir() if p.is_file() and _is_data(p, suffixes)),
            key=lambda p: (p.parent, tables.stem(p), p.name),
        )
    for path in found:
        if not path.is_file():
            raise ValueError(f"{path}: no such file, though {folder / SAVED} names it")
    return found


def _is_data(path: Path, suffixes: Sequence[str]) -> bool:
    return tables.suffix(path) in suffixes and path.name not in NO_DATA and not path.name.startswith(".")


def _listed(path: Path, key: str) -> list[Any]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))[key])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not what `datasets` saves ({type(error).__name__}: {error})") from error
