"""Canonical Parquet: what `convert` writes and training reads.

The columns are those of a record: task, instruction, input, output, group, metadata (JSON text), in row order.
E.g. `convert_file("dolly", Path("dolly.jsonl"), Path("out"), reading("dolly"))` writes out/dolly/dolly.parquet.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import manifest, tables, tasks
from data_prep.conversion import convert
from data_prep.manifest import Entry
from data_prep.tasks import Reading
from hycam_exp.data.records import Record, Rejection

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("task", "instruction", "input", "output", "group", "metadata")


def convert_file(task: str, source: Path, out: Path, reading: Reading) -> Entry:
    """Convert one source file; nothing is written unless all of it could be read.

    Raises:
        ValueError: the file is missing, malformed, or would overwrite what came from another one.
    """
    folder = out / task
    target = _target(source, folder)
    results, rows = _converted(task, source, reading)
    records = [r for r in results if isinstance(r, Record)]
    rejected = [r for r in results if isinstance(r, Rejection)]
    assert rows == len(records) + len(rejected), f"{source}: {rows} rows in, {len(results)} out"
    manifest.write(target, _encoded(records))
    reasons: dict[str, list[int]] = {}
    for rejection in rejected:
        reasons.setdefault(rejection.reason, []).append(rejection.line)
    entry = Entry(
        name=source.name,
        bytes=source.stat().st_size,
        sha256=manifest.sha256(source),
        options=dict(reading.options),
        rows=rows,
        records=len(records),
        rejected=reasons,
        parquet=target.name,
        parquet_sha256=manifest.sha256(target),
    )
    manifest.record(folder, task, entry, rejected)
    return entry


def convert_all(
    root: Path, out: Path, reading: Callable[[str], Reading], done: Callable[[str, Entry], None]
) -> list[Entry]:
    """Convert every file of every recognised folder under `root`, and report each as it is done.

    Raises:
        ValueError: no folder is recognised, or a file could not be converted.
    """
    plan = [(task, path) for task in tasks.TASKS for path in _of_task(task, root)]
    if not plan:
        names = ", ".join(tasks.TASKS)
        raise ValueError(f"{root}: no file of {names} in it (a folder for each, {' or '.join(tables.SUFFIXES)} in it)")
    if out.resolve() == root.resolve():
        raise ValueError(f"--out {out}: is the folder of the sources; canonical Parquet needs a folder of its own")
    entries = []
    for task, path in plan:
        entries.append(convert_file(task, path, out, reading(task)))
        done(task, entries[-1])
    return entries


def files(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """The canonical and the other data files of a folder, in order of their names without suffix.

    Raises:
        ValueError: a Parquet file cannot be read.
    """
    found = sorted(
        (p for p in folder.iterdir() if p.is_file() and tables.suffix(p) in suffixes and _is_data(p)),
        key=lambda p: (tables.stem(p), p.name),
    )
    canonical = [p for p in found if is_canonical(p)]
    return canonical, [p for p in found if p not in canonical]


def is_canonical(path: Path) -> bool:
    """Whether a file is Parquet with the columns of a record.

    Raises:
        ValueError: it is called Parquet, but is not.
    """
    if tables.suffix(path) != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(path).names) == COLUMNS
    except pa.ArrowException as error:
        raise ValueError(f"{path}:1: malformed Parquet: {str(error).splitlines()[0]}") from error


def read(task: str, path: Path) -> Iterator[Record]:
    """The records of a canonical file.

    Raises:
        ValueError: the file is malformed, or holds another task's records; names file and row.
    """
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


def _is_data(path: Path) -> bool:
    return path.name not in tasks.OWN_FILES and not path.name.startswith(".")


def _of_task(task: str, root: Path) -> list[Path]:
    folder = tasks.folder_of(task, root)
    if folder is None:
        return []
    canonical, found = files(folder, tables.SUFFIXES)
    if canonical:
        raise ValueError(f"{canonical[0]}: is converted already; convert reads upstream files")
    if not found:
        raise ValueError(f"{folder}: no file of {task} in it ({' or '.join(tables.SUFFIXES)})")
    return found


def _target(source: Path, folder: Path) -> Path:
    """Where a source's records go.

    Raises:
        ValueError: another source's records are there.
    """
    if not source.is_file():
        raise ValueError(f"{source}: {'is a folder' if source.is_dir() else 'no such file'}; --source names a file")
    if not tables.suffix(source):
        raise ValueError(f"{source}: must be one of {', '.join(tables.ALL_SUFFIXES)} (or gzipped)")
    target = folder / f"{tables.stem(source)}.parquet"
    if target.resolve() == source.resolve():
        raise ValueError(f"{source}: would be overwritten by its own records; choose another --out")
    other = next((e.name for e in manifest.entries(folder) if e.parquet == target.name and e.name != source.name), None)
    if other:
        raise ValueError(f"{source}: {target} holds the records of {other}; rename one of the two")
    return target


def _converted(task: str, source: Path, reading: Reading) -> tuple[list[Record | Rejection], int]:
    """What became of each row, and how many there were."""
    if is_canonical(source):
        raise ValueError(f"{source}: is converted already; convert reads upstream files")
    rows = list(reading.rows(tables.rows(source), str(source)))
    if not rows:
        raise ValueError(f"{source}: no row in it")
    return list(convert(task, rows, source.name, reading.fields)), len(rows)


def _encoded(records: Sequence[Record]) -> bytes:
    """The records as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(_table(records), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _table(records: Sequence[Record]) -> "pa.Table":
    import pyarrow as pa

    metadata = [json.dumps(dict(r.metadata), sort_keys=True, ensure_ascii=False) for r in records]
    columns = {name: [getattr(r, name) for r in records] for name in COLUMNS[:-1]} | {"metadata": metadata}
    return pa.table({name: pa.array(values, pa.large_string()) for name, values in columns.items()})
