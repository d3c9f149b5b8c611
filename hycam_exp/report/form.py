"""The form that a record must have for the report to read it: what is there, and of which kind.

fault(record)  # "config.seed is null, must be a whole number"; None for a record that can be read
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hycam_exp.records.store import RunRecord

Form = Callable[[Any, str], Iterator[str]]
"""What is wrong with a value at a place of the record, the first thing first."""

_ABSENT = object()
_LARGEST = 2**63  # of whole numbers: no count is, and what is larger has no float at last
_LONGEST = 60  # characters of a value that a fault shows
# The parts that hold numbers, but for scores and curves.
_NUMBERS = ("config", "metrics", "fit", "routing", "counts", "cost", "data", "code", "versions")


def fault(record: RunRecord) -> str | None:
    """The first thing that keeps the report from reading a record: a field's kind, or a number that is not finite."""
    found = next((text for part, form in _RECORD.items() for text in form(getattr(record, part), part)), None)
    if found is not None:
        return found
    return next((f"{place} is {value}" for place, value in _numbers(record) if not _is_finite(value)), None)


def _must(holds: Callable[[Any], bool], kind: str) -> Form:
    def form(value: Any, place: str) -> Iterator[str]:
        if value is _ABSENT:
            yield f"has no {place}"
        elif not holds(value):
            yield f"{place} is {_shown(value)}, must be {kind}"

    return form


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


_ANY = _must(lambda value: True, "there")
_TEXT = _must(lambda value: isinstance(value, str), "a text")
_NUMBER = _must(_is_number, "a number")
_WHOLE = _must(_is_whole, "a whole number")
_COUNT = _must(lambda value: _is_whole(value) and value > 0, "a whole number above 0")
_MAPPING = _must(lambda value: isinstance(value, Mapping), "a mapping")
_LIST = _must(lambda value: isinstance(value, list), "a list")


def _or_null(form: Form) -> Form:
    """Of this form, null, or not there."""

    def of(value: Any, place: str) -> Iterator[str]:
        if value is not None and value is not _ABSENT:
            yield from form(value, place)

    return of


def _fields(**forms: Form) -> Form:
    """A mapping with these fields, and any others."""

    def of(value: Any, place: str) -> Iterator[str]:
        yield from _MAPPING(value, place)
        if isinstance(value, Mapping):
            for name, form in forms.items():
                yield from form(value.get(name, _ABSENT), f"{place}.{name}")

    return of


def _by_name(form: Form) -> Form:
    """A mapping of values of one form."""

    def of(value: Any, place: str) -> Iterator[str]:
        yield from _MAPPING(value, place)
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from form(inner, f"{place}.{name}")

    return of


def _list_of(form: Form) -> Form:
    """A list of values of one form."""

    def of(value: Any, place: str) -> Iterator[str]:
        yield from _LIST(value, place)
        if isinstance(value, list):
            for position, inner in enumerate(value):
                yield from form(inner, f"{place}[{position}]")

    return of


def _filled(form: Form) -> Form:
    """The same, and not empty."""

    def of(value: Any, place: str) -> Iterator[str]:
        yield from form(value, place)
        if value == []:
            yield f"{place} is empty"

    return of


_NAMED = _fields(name=_TEXT)
_CONFIG = _fields(
    model=_fields(name=_TEXT, path=_or_null(_TEXT)),
    method=_NAMED,
    data=_fields(name=_TEXT, tasks=_or_null(_list_of(_TEXT))),
    recipe=_fields(learning_rates=_or_null(_MAPPING)),
    trainer=_MAPPING,
    fold=_WHOLE,
    seed=_WHOLE,
)
_ROUTING = _list_of(
    _fields(layer=_TEXT, task=_TEXT, tokens=_NUMBER, weights=_filled(_list_of(_NUMBER)), entropy=_NUMBER)
)
_COST = _fields(
    seconds=_by_name(_NUMBER),
    peak_memory=_or_null(_fields(kind=_TEXT, bytes=_or_null(_NUMBER))),
    hardware=_or_null(_fields(device=_or_null(_TEXT))),
)


def _curves(value: Any, place: str) -> Iterator[str]:
    """Lists of rows by name; rows are many, so that they are looked at one by one only where one is not as it must."""
    yield from _MAPPING(value, place)
    for name, rows in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            yield from _list_of(_fields(step=_NUMBER, loss=_NUMBER))(rows, f"{place}.{name}")
            yield from _list_of(_by_name(_or_null(_NUMBER)))(rows, f"{place}.{name}")


def _is_row(row: Any) -> bool:
    """Of numbers alone, by their sum: nothing else that JSON holds can be added to them."""
    try:
        return "step" in row and "loss" in row and isinstance(sum(row.values()), int | float)
    except (AttributeError, TypeError):
        return False


def _scores(value: Any, place: str) -> Iterator[str]:
    for score in value:
        of = f"the score {score.metric} of {score.task}"
        yield from _TEXT(score.metric, f"{place}: {of}: its metric")
        yield from _TEXT(score.task, f"{place}: {of}: its task")
        yield from _NUMBER(score.n, f"{of}: its n")
        if not isinstance(score.value, float):  # most are, and they are many
            yield from _or_null(_NUMBER)(score.value, of)


_RECORD: Mapping[str, Form] = {
    "config": _CONFIG,
    "scores": _scores,
    "metrics": _by_name(_fields(better=_ANY, aggregation=_ANY, version=_ANY)),
    "curves": _curves,
    "fit": _MAPPING,
    "routing": _ROUTING,
    "counts": _fields(parameters_trainable=_COUNT, records=_by_name(_fields(rows=_WHOLE, rejected=_WHOLE))),
    "cost": _COST,
    "data": _fields(content=_TEXT, split=_TEXT),
    "code": _MAPPING,
    "results_version": _COUNT,
    "versions": _MAPPING,
    "notes": _list_of(_TEXT),
}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _numbers(record: RunRecord) -> Iterator[tuple[str, Any]]:
    """What should be finite, with its place: all scores, and all numbers of a part where one is not."""
    for score in record.scores:
        if score.value is not None:
            yield f"the score {score.metric} of {score.task}", score.value
    if not _sums_are_finite(record.curves):  # curves are long: look for the place only where one may be
        yield from _within("curves", record.curves)
    for part in _NUMBERS:
        if not _holds_finite_numbers(getattr(record, part)):
            yield from _within(part, getattr(record, part))


def _sums_are_finite(curves: Mapping[str, Any]) -> bool:
    """Whether every row of every curve has a finite sum; then its numbers are finite, too."""
    try:
        return all(math.isfinite(sum(row.values())) for rows in curves.values() for row in rows)
    except (TypeError, OverflowError):  # a value is null, or no float holds it
        return False


def _holds_finite_numbers(value: Any) -> bool:
    """By the standard library's encoder, which goes through a value faster than a loop here."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _within(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, int | float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _within(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _within(f"{place}[{position}]", inner)
