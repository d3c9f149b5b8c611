"""Rows of a file of any form: JSON, JSON Lines (both also gzipped), CSV, Parquet.

E.g. `rows(Path("mine.csv"))` yields (2, {"question": "...", "answer": "..."}) first: line 1 is the header.
"""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep import upstream

SUFFIXES = (*upstream.SUFFIXES, ".parquet")
ALL_SUFFIXES = (*SUFFIXES, ".csv")
BATCH_ROWS = 1000


def stem(path: Path) -> str:
    """The file's name without the suffixes of its form: rows for rows.json.gz."""
    name = path.name.removesuffix(".gz")
    return next((name.removesuffix(s) for s in ALL_SUFFIXES if name.endswith(s)), name)


def suffix(path: Path) -> str:
    """The suffix that names the file's form, e.g. .json for rows.json.gz; empty for a form that is not read."""
    name = path.name.removesuffix(".gz")
    return next((s for s in ALL_SUFFIXES if name.endswith(s)), "")


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Every row with its line; in Parquet, its number from 1 on.

    Raises:
        ValueError: the file is malformed; names file and line.
    """
    if suffix(path) == ".parquet":
        return _parquet(path)
    return _csv(path) if suffix(path) == ".csv" else upstream.rows(path)


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows under the header's names; a row of another width comes as a list."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(upstream.text(path), newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for values in reader:
            if header is None:
                header = _header(path, values)
            elif values:
                yield line, dict(zip(header, values, strict=True)) if len(values) == len(header) else values
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{line}: malformed CSV: {error}") from error


def _header(path: Path, names: list[str]) -> list[str]:
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"{path}:1: malformed CSV: the header needs a name of its own for every field")
    return names


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path}:{number + 1}: malformed Parquet: {str(error).splitlines()[0]}") from error
