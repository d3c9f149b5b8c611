"""Canonical Parquet: what `convert` writes and training reads.

The columns are those of a record: task, instruction, input, output, group, metadata (JSON text), in row order. The
file says under which version of grouping it was made: another version's is refused, since its folds would be others.
E.g. `convert_file("dolly", Path("dolly.jsonl"), Path("out"), reading("dolly"))` writes out/dolly/dolly.parquet.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_prep import folders, manifest, tables
from data_prep.conversion import convert
from data_prep.manifest import SourceEntry
from data_prep.tasks import TASKS, Reading
from hycam_exp.data.records import Record, Rejection
from hycam_exp.runtime.files import refuse_pointer

COLUMNS = ("task", "instruction", "input", "output", "group", "metadata")
VERSION = {b"data_prep.grouping": b"2"}
"""In the file's metadata. 1 (which said nothing): groups told punctuation and white space apart."""


def of_file(task: str, path: Path, source: str, reading: Reading) -> list[Record | Rejection]:
    """What became of each row of an upstream file; `source` is what the rejections call it.

    Raises:
        ValueError: the file is malformed, or has no row; names file and line.
    """
    results = list(convert(task, reading.rows(tables.rows(path), str(path)), source, reading.fields))
    if not results:
        raise ValueError(f"{path}: no row in it")
    return results


def convert_file(task: str, source: Path, out: Path, reading: Reading, name: str | None = None) -> SourceEntry:
    """Convert one source file; nothing is written unless all of it could be read.

    `name` tells the file from others of its task; without one its own name does.

    Raises:
        ValueError: the file is missing, malformed, or would overwrite what came from another one.
    """
    folder = out / task
    name = name or source.name
    target = _target(source, folder, name)
    if is_canonical(source):
        raise ValueError(f"{source}: is converted already; convert reads upstream files")
    results = of_file(task, source, name, reading)
    records = [r for r in results if isinstance(r, Record)]
    rejected = [r for r in results if isinstance(r, Rejection)]
    manifest.write(target, encoded(records))
    reasons: dict[str, list[int]] = {}
    for rejection in rejected:
        reasons.setdefault(rejection.reason, []).append(rejection.line)
    entry = SourceEntry(
        name=name,
        bytes=source.stat().st_size,
        sha256=manifest.sha256(source),
        options=dict(reading.options),
        rows=len(results),
        records=len(records),
        rejected=reasons,
        parquet=target.name,
        parquet_sha256=manifest.sha256(target),
    )
    manifest.record(folder, task, entry, rejected)
    return entry


def convert_all(
    root: Path, out: Path, reading: Callable[[str], Reading], done: Callable[[str, SourceEntry], None]
) -> list[SourceEntry]:
    """Convert every file of every recognised folder under `root`, and report each as it is done.

    Raises:
        ValueError: no folder is recognised, or a file could not be converted.
    """
    plan = [(task, path, name) for task in TASKS for path, name in _of_task(task, root)]
    if not plan:
        names = ", ".join(TASKS)
        raise ValueError(f"{root}: no file of {names} in it (a folder for each, {' or '.join(tables.SUFFIXES)} in it)")
    if out.resolve() == root.resolve():
        raise ValueError(f"--out {out}: is the folder of the sources; canonical Parquet needs a folder of its own")
    entries = []
    for task, path, name in plan:
        entries.append(convert_file(task, path, out, reading(task), name))
        done(task, entries[-1])
    return entries


def is_canonical(path: Path) -> bool:
    """Whether a file is Parquet with the columns of a record.

    Raises:
        ValueError: it is called Parquet, but is not, or a pointer of Git LFS.
    """
    if tables.suffix(path) != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    refuse_pointer(path)
    try:
        return tuple(pq.read_schema(path).names) == COLUMNS
    except pa.ArrowException as error:
        raise ValueError(f"{path}:1: malformed Parquet: {str(error).splitlines()[0]}") from error


def read(task: str, path: Path) -> Iterator[Record]:
    """The records of a canonical file.

    Raises:
        ValueError: the file is malformed, or holds another task's records; names file and row.
    """
    import pyarrow.parquet as pq

    if any((pq.read_schema(path).metadata or {}).get(key) != value for key, value in VERSION.items()):
        raise ValueError(
            f"{path}: another version of data_prep made it, which grouped its records otherwise;"
            " `python -m data_prep convert` makes it again from its source"
        )
    for number, row in tables.rows(path):
        if row["task"] != task:
            raise ValueError(f"{path}:{number}: a record of {row['task']}, not of {task}")
        try:
            metadata = json.loads(row["metadata"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number}: metadata is not JSON: {error}") from error
        texts = {name: row[name] for name in COLUMNS[:-1]}
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(metadata, dict):
            raise ValueError(f"{path}:{number}: not a canonical record")
        yield Record(**texts, metadata=metadata)


def _of_task(task: str, root: Path) -> list[tuple[Path, str]]:
    """The files of a task, each with its path in the task's folder, parts joined by a dash."""
    folder = folders.folder_of(task, root)
    if folder is None:
        return []
    found = folders.data_files(folder, tables.SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: no file of {task} in it ({' or '.join(tables.SUFFIXES)})")
    return [(path, "-".join(path.relative_to(folder).parts)) for path in found]


def _target(source: Path, folder: Path, name: str) -> Path:
    """Where a source's records go.

    Raises:
        ValueError: another source's records are there.
    """
    if not source.is_file():
        raise ValueError(f"{source}: {'is a folder' if source.is_dir() else 'no such file'}; --source names a file")
    if not tables.suffix(source):
        raise ValueError(f"{source}: must be one of {', '.join(tables.ALL_SUFFIXES)} (or gzipped)")
    target = folder / f"{tables.stem(Path(name))}.parquet"
    if target.resolve() == source.resolve():
        raise ValueError(f"{source}: would be overwritten by its own records; choose another --out")
    other = next((e.name for e in manifest.entries(folder) if e.parquet == target.name and e.name != name), None)
    if other:
        raise ValueError(f"{source}: {target} holds the records of {other}; rename one of the two")
    return target


def encoded(records: Sequence[Record]) -> bytes:
    """The records as Parquet: the same bytes for the same records and the same pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = [json.dumps(dict(r.metadata), sort_keys=True, ensure_ascii=False) for r in records]
    columns = {name: [getattr(r, name) for r in records] for name in COLUMNS[:-1]} | {"metadata": metadata}
    table = pa.table({name: pa.array(values, pa.large_string()) for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(VERSION), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
