"""The samples file of a run as a table, or by name what is wrong with it."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(path: Path, needed: Collection[str], wanted: Collection[str] | None = None) -> "pa.Table":
    """The needed columns and of the wanted ones those that are there; all where none are named.

    Raises:
        ValueError: there is no such file, it is damaged or no Parquet, or lacks a needed column; names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            chosen = None if wanted is None else [name for name in present if name in {*needed, *wanted}]
            table = file.read(columns=chosen, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: no samples file: {error}") from error
    lacking = set(needed) - set(present)
    if lacking:
        raise ValueError(f"{path}: no column {', '.join(sorted(lacking))}")
    return table
