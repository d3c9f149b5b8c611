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
    group = _group(row, mapping["group"]) if mapping.get("group") else ""
    return Fields(
        instruction=text_of(row, mapping["instruction"]),
        input=text_of(row, mapping["input"], required=False) if mapping.get("input") else "",
        output=text_of(row, mapping["output"]),
        group_by=group if group.strip() else None,
    )


def _group(row: Mapping[str, Any], name: str) -> str:
    """The group as text; a whole number names a group as well as a text does."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, name, required=False)


def known(rows: Rows, source: str, mapping: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    """The rows as they are.

    Raises:
        ValueError: a mapped field is in none of them; names the fields that are.
    """
    kept = list(rows)
    there = dict.fromkeys(key for _, row in kept if isinstance(row, Mapping) for key in row)
    for key, name in mapping.items():
        if there and name not in there:
            raise ValueError(f"{source}: {key}={name}: no row has such a field; the fields are {', '.join(there)}")
    yield from kept
