"""Rows of a file of any form: JSON, JSON Lines, CSV (all three also gzipped), Parquet, Arrow.

E.g. `rows(Path("mine.csv"))` yields (2, {"question": "...", "answer": "..."}) first: line 1 is the header.
"""

import csv
import gzip
import io
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from data_prep import json_rows
from hycam_exp.runtime.files import refuse_pointer

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".json", ".jsonl", ".parquet", ".arrow")
"""Forms of the known data sets."""
ALL_SUFFIXES = (*SUFFIXES, ".csv")
BATCH_ROWS = 1000
GZIP = b"\x1f\x8b"
ARROW_FILE = b"ARROW1"  # how Arrow's file form begins; its stream form, which `datasets` writes, has no mark


def stem(path: Path) -> str:
    """The file's name without the suffixes of its form: rows for rows.json.gz."""
    name = path.name.removesuffix(".gz")
    return next((name.removesuffix(s) for s in ALL_SUFFIXES if name.endswith(s)), name)


def suffix(path: Path) -> str:
    """The suffix that names the file's form, e.g. .json for rows.json.gz; empty for a form that is not read."""
    name = path.name.removesuffix(".gz")
    return next((s for s in ALL_SUFFIXES if name.endswith(s)), "")


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Every row with its line; in Parquet and Arrow, its number from 1 on.

    Raises:
        ValueError: the file is malformed, or a pointer of Git LFS; names file and line.
    """
    refuse_pointer(path)
    form = suffix(path)
    if form == ".parquet":
        yield from _columns(path, "Parquet", _parquet(path))
    elif form == ".arrow":
        yield from _columns(path, "Arrow", _arrow(path))
    else:
        with opened(path) as stream:
            yield from _csv(path, stream) if form == ".csv" else json_rows.rows(str(path), stream, form == ".jsonl")


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file as a stream: unpacked, without byte order mark, with one form of line end.

    Raises:
        ValueError: the file is no whole gzip file, or not UTF-8; names the line.
    """
    try:
        with _unpacked(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig") as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}:1: malformed gzip: {error}") from error
    except UnicodeDecodeError as error:
        line, byte = _not_utf8(path)
        raise ValueError(f"{path}:{line}: not UTF-8 text (byte {byte})") from error


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as raw:
        yield gzip.GzipFile(fileobj=raw) if raw.peek(2).startswith(GZIP) else raw  # type: ignore[misc]


def _not_utf8(path: Path) -> tuple[int, int]:
    """The line and the place of the first byte that is not UTF-8 (a stream is decoded in blocks that tell neither)."""
    before = 0
    with _unpacked(path) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return number, before + error.start
            before += len(line)
    raise AssertionError(f"{path} changed while it was read")


def _csv(path: Path, stream: TextIO) -> Iterator[tuple[int, Any]]:
    """Rows under the header's names; a row of another width comes as a list."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(stream, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for values in reader:
            if values and header is None:
                header = _header(path, values)
            elif values and header is not None:
                yield line, _named(header, values) if len(values) == len(header) else values
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{line}: malformed CSV: {error}") from error


def _header(path: Path, names: list[str]) -> list[str]:
    """The names of the columns; only the first may be empty: so pandas writes a table's index."""
    named = names[1:] if len(names) > 1 else names
    if not all(named) or len(set(names)) != len(names):
        raise ValueError(f"{path}:1: malformed CSV: the header needs a name of its own for every field")
    return names


def _named(header: list[str], values: list[str]) -> dict[str, str]:
    return {name: value for name, value in zip(header, values, strict=True) if name}


def _columns(path: Path, form: str, batches: "Iterator[pa.RecordBatch]") -> Iterator[tuple[int, Any]]:
    """Rows of batches of columns, from which nothing has been read yet."""
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            if not number:
                _refuse_doubles(path, form, batch.schema)
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path}:{number + 1}: malformed {form}: {str(error).splitlines()[0]}") from error


def _refuse_doubles(path: Path, form: str, fields: "Iterable[pa.Field]") -> None:
    """Raise a `ValueError` where two columns, or two fields of a column, have one name: a row would keep the last."""
    import pyarrow as pa

    fields = list(fields)
    double = next((name for name, count in Counter(field.name for field in fields).items() if count > 1), None)
    if double is not None:
        raise ValueError(f"{path}:1: malformed {form}: two columns are called {double!r}; rename one of them")
    for field in fields:
        kind = field.type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            _refuse_doubles(path, form, kind)


def _parquet(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH_ROWS)


def _arrow(path: Path) -> "Iterator[pa.RecordBatch]":
    """Batches of either of Arrow's forms, memory-mapped."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if source.read(len(ARROW_FILE)) == ARROW_FILE:
            with pa.ipc.open_file(source) as file:
                yield from (file.get_batch(index) for index in range(file.num_record_batches))
            return
        source.seek(0)
        with pa.ipc.open_stream(source) as stream:
            yield from stream
