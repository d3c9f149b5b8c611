"""The records of a mix with their ids, and the files they were read from with their hashes.

The one module that imports data_prep, which it asks once for each task. E.g. `read(["dolly"], "data").records`.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep import reading
from hycam_exp.data.records import Record, Rejection, SourceFile, identified

Fields = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Everything that a data mix holds before folds and lengths: records, rejected rows and files."""

    records: list[Record]
    rejections: list[Rejection]
    sources: list[SourceFile]


def rejection_counts(rejections: Sequence[Rejection]) -> dict[str, int]:
    """How many rows were rejected for each task and reason."""
    return dict(sorted(Counter(f"{r.task}: {r.reason}" for r in rejections).items()))


def read(names: Sequence[str], root: str | None, fields: Fields | None = None) -> Collection:
    """All records of the tasks, in order of content; `fields` maps the fields of a user's own tasks.

    Raises:
        ValueError: a task is unknown, a file is missing, empty or malformed, or no record is left.
    """
    alone = len(names) == 1
    found = {task: reading.read(task, root, (fields or {}).get(task), alone) for task in names}
    return Collection(
        records=identified(record for of_task in found.values() for record in of_task.records),
        rejections=[rejection for of_task in found.values() for rejection in of_task.rejections],
        sources=[_source(task, path) for task, of_task in found.items() for path in of_task.files],
    )


def _source(task: str, path: Path) -> SourceFile:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return SourceFile(task=task, name=path.name, size=path.stat().st_size, sha256=sha256)
