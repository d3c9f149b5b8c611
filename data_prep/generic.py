"""Rows of any set, with a mapping from our fields to its own. Standard library only.

E.g. `reading({"instruction": "question", "output": "answer"})` reads rows of question and answer.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from data_prep.conversion import Fields, mapping_of, text_of
from data_prep.tasks import Reading, Rows

REQUIRED = ("instruction", "output")
OPTIONAL = ("input", "group")


def reading(mapping: Mapping[str, str | None], name: str = "fields") -> Reading:
    """How rows with other field names are read.

    Raises:
        ValueError: instruction or output is not mapped, or something else is.
    """
    for key in mapping:
        if key not in REQUIRED + OPTIONAL:
            raise ValueError(f"{name}.{key}: must be one of {', '.join(REQUIRED + OPTIONAL)}")
    for key in REQUIRED:
        if not mapping.get(key):
            raise ValueError(f"{name}: no {key}; it needs {' and '.join(REQUIRED)}, and may have {', '.join(OPTIONAL)}")
    names = {key: value for key, value in mapping.items() if value}
    return Reading(fields=partial(fields, mapping=names), rows=partial(known, mapping=names), options=names)


def fields(row: Any, mapping: Mapping[str, str]) -> Fields:
    """The mapped fields of a row; without a group the prompt is the group."""
    if isinstance(row, list):
        raise ValueError(f"{len(row)} values, unlike the header")
    row = mapping_of(row)
    return Fields(
        instruction=text_of(row, mapping["instruction"]),
        input=text_of(row, mapping["input"], required=False) if mapping.get("input") else "",
        output=text_of(row, mapping["output"]),
        group=_group(row, mapping["group"]) if mapping.get("group") else None,
    )


def _group(row: Mapping[str, Any], name: str) -> str | None:
    """The group as text, as it is; None where the row has none.

    A number names a group as well as a text does: 1 and 1.0 the same one, since a column of whole numbers with a gap
    is one of floats (pandas), whose gap is NaN.
    """
    value = row.get(name)
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = text_of(row, name, required=False)
    return text if text.strip() else None


def known(rows: Rows, source: str, mapping: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    """The rows as they are, one by one.

    Raises:
        ValueError: a mapped field was in none of them; names the fields that were.
    """
    there: dict[str, None] = {}
    for line, row in rows:
        if isinstance(row, Mapping):
            there |= dict.fromkeys(row)
        yield line, row
    for key, name in mapping.items():
        if there and name not in there:
            raise ValueError(f"{source}: {key}={name}: no row has such a field; the fields are {', '.join(there)}")
