"""The samples file of a run as a table, or by name what is wrong with it."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(path: Path, needed: Collection[str], wanted: Collection[str] | None = None) -> "pa.Table":
    """The needed columns and of the wanted ones those that are there; all where none are named.

    Raises:
        ValueError: there is no such file, it is damaged or no Parquet, or lacks a needed column, or a column holds
            something else than it should; names it.
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
    for field in table.schema:
        expected = _expected(field.name)
        if not _is_of(field.type, expected):
            raise ValueError(f"{path}: column {field.name} is {field.type}, must be {expected}")
    return table


_TEXTS = ("task", "id", "group", "prediction", "reference")


def _expected(name: str) -> str:
    """What a column holds."""
    return "texts" if name in _TEXTS else "yes or no" if name == "capped" else "numbers"


def _is_of(type_: Any, expected: str) -> bool:
    """A column of nothing but nulls is of every kind."""
    from pyarrow import types

    of_values = type_.value_type if types.is_dictionary(type_) else type_
    checks = {
        "texts": (types.is_string, types.is_large_string),
        "yes or no": (types.is_boolean,),
        "numbers": (types.is_integer, types.is_floating),
    }
    return any(check(of_values) for check in (types.is_null, *checks[expected]))
