"""The typed record: any field that is wrong is named by its path."""

import json
import math
import re
from dataclasses import asdict
from typing import Any

import pytest

from hycam_exp.records.record import decode, encode
from tests.made import RECORD


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values that are no mapping or list, in the order of the record."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, (*path, index))]
    return [path]


def changed(path: tuple[Any, ...], value: Any) -> bytes:
    """The record as JSON with another value at one place."""
    fields = asdict(RECORD)
    place: Any = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(fields).encode()


PLACES = leaves(asdict(RECORD))


def test_a_record_comes_back_as_it_was() -> None:
    """Through JSON and back, every value exactly."""
    assert decode(encode(RECORD)) == RECORD


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("value", [{"a": 1}, ["a"]], ids=["mapping", "list"])
def test_a_wrong_value_is_named_by_its_path(path: tuple[Any, ...], value: Any) -> None:
    """Whichever value of a record is of another kind, the error has its place, as in `$.scores[0].value`."""
    with pytest.raises(ValueError, match="Expected") as error:
        decode(changed(path, value))
    # Of a mapping's names msgspec says `[...]`; the names of the fields are said themselves.
    named = str(error.value).rpartition("`$")[2].rstrip("`")
    given = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    parts = [re.escape(part) for part in named.split("[...]")]
    assert re.fullmatch(r"\.\w+".join(parts), given), named


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize(
    "path", [("scores", 0, "value"), ("fit", "best_validation_loss"), ("cost", "seconds", "train")]
)
def test_a_number_that_is_not_finite_is_refused(path: tuple[Any, ...], number: float) -> None:
    """NaN and infinity are no JSON, wherever they stand."""
    with pytest.raises(ValueError, match="malformed"):
        decode(changed(path, number))


@pytest.mark.parametrize("field", list(asdict(RECORD)))
def test_a_missing_field_is_named(field: str) -> None:
    """No field of a record has a default: what is absent is null."""
    fields = {key: value for key, value in asdict(RECORD).items() if key != field}
    with pytest.raises(ValueError, match=f"missing required field `{field}`"):
        decode(json.dumps(fields).encode())
