"""What all converters share: a row becomes a record, or a rejection with its place and reason.

Standard library only. A converter is one function `fields(row) -> Fields` that raises `ValueError` with the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hycam_exp.data.records import Record, Rejection, normalise


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a converter reads off a row."""

    instruction: str
    input: str = ""
    output: str
    group_by: str | None = None
    """The text that decides the group, case, punctuation and white space apart; None: the prompt."""
    group: str | None = None
    """The group itself, as a user's own column names it; None: `group_by` decides."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A known data set: what the paper's Table 1 says of it, and its converter."""

    domain: str
    source: str
    """Whom to cite."""
    hub_id: str
    folders: tuple[str, ...]
    """Names of its folder, in lower case without separators."""
    fields: Callable[[Any], Fields]
    """Reads a row off; raises a `ValueError` with the reason where it is no record."""


def text_of(row: Mapping[str, Any], key: str, required: bool = True) -> str:
    """A row's text field.

    Raises:
        ValueError: the field is no text, or required and missing or blank.
    """
    value = row.get(key)
    if value is None and not required:
        return ""
    if value is None:
        raise ValueError(f"no {key}")
    text = checked(value, key)
    if required and not text.strip():
        raise ValueError(f"empty {key}")
    return text


def checked(value: Any, name: str) -> str:
    """The value, or a `ValueError` with its name if it is no text that UTF-8 can say."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, not text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name} holds a lone surrogate")
    return value


def mapping_of(value: Any, name: str = "the row is") -> Mapping[str, Any]:
    """The value as a mapping, or a `ValueError` that says what it is."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} {type(value).__name__}, not an object")
    return value


def convert(
    task: str, rows: Iterable[tuple[int, Any]], source: str, fields: Callable[[Any], Fields]
) -> Iterator[Record | Rejection]:
    """One record or rejection for every row in."""
    for line, row in rows:
        try:
            read = fields(row)
        except ValueError as error:
            yield Rejection(task=task, source=source, line=line, reason=str(error))
            continue
        decisive = read.group_by if read.group_by is not None else f"{read.instruction} {read.input}"
        yield Record(
            task=task,
            instruction=read.instruction,
            input=read.input,
            output=read.output,
            group=read.group if read.group is not None else normalise(decisive),
            metadata=read.metadata,
        )
