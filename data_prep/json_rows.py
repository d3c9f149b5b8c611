"""Rows of JSON text with their lines: JSON Lines, an array, an object of rows, objects one after the other.

Standard library only. JSON Lines are read line by line; every other form is one value, or few, and is held whole.
E.g. `rows("mine.json", io.StringIO('{"data": [{"q": 1}]}'), lines=False)` yields (1, {"q": 1}).
"""

import json
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn, TextIO

SPACE = " \t\r\n"
COMPARISON = 2
"""Answers of a WebGPT comparison: an array of so many on the only line of a .jsonl file is a row, not rows."""


def rows(name: str, stream: TextIO, lines: bool) -> Iterator[tuple[int, Any]]:
    """Every row with the line that it starts on; `lines` says that the name promises JSON Lines.

    Raises:
        ValueError: the text is not JSON, an object has one key twice, or it holds columns; names file and line.
    """
    filled = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
    first = next(filled, None)
    if first is None:
        return
    number, line = first
    text = _Text(name, line, number)
    if line.lstrip(SPACE).startswith("[") and not lines:
        text.extend(stream)
        yield from text.array(0)
        return
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        yield from _several_lines(text, stream, error)
        return
    second = next(filled, None)
    if second is None:
        yield from text.alone(value)
        return
    yield number, value
    for number, line in chain([second], filled):
        yield number, _value_of(name, number, line)


def _several_lines(text: "_Text", stream: TextIO, error: ValueError | RecursionError) -> Iterator[tuple[int, Any]]:
    """Rows of a text whose first value does not end on its first line."""
    first_line = text.text
    text.extend(stream)
    if first_line.lstrip(SPACE).startswith("["):
        yield from text.array(0)
        return
    rest = text.text[len(first_line) :].lstrip(SPACE)
    if not (first_line.lstrip(SPACE).startswith("{") and rest) or _is_object(rest.partition("\n")[0]):
        text.refuse(0, error)  # one wrong line of JSON Lines
    value, end = text.value(0)
    if not text.text[end:].strip():
        yield from text.alone(value)
        return
    position = text.skip(0)
    while position < len(text.text):
        value, end = text.value(position)
        yield text.line(position), value
        position = text.skip(end)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _value_of(name: str, number: int, line: str) -> Any:
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}:{number}: malformed JSON: {_reason(error)}") from error


def _reason(error: ValueError | RecursionError) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands twice in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


class _Text:
    """A whole text of JSON, decoded value by value from any position, with the line of each."""

    def __init__(self, name: str, text: str, first_line: int) -> None:
        self.name = name
        self.text = text
        self._first_line = first_line
        self._counted = 0, first_line

    def extend(self, stream: TextIO) -> None:
        """Add the rest of the stream."""
        self.text += stream.read()

    def line(self, position: int) -> int:
        """The line of a position; positions that follow each other are found without counting again."""
        counted, line = self._counted if self._counted[0] <= position else (0, self._first_line)
        line += self.text.count("\n", counted, position)
        self._counted = position, line
        return line

    def skip(self, position: int) -> int:
        """The position of the next character that is no white space."""
        while position < len(self.text) and self.text[position] in SPACE:
            position += 1
        return position

    def value(self, position: int) -> tuple[Any, int]:
        """The value at a position, and where it ends.

        Raises:
            ValueError: it is malformed; names file and line.
        """
        position = self.skip(position)
        try:
            return _DECODER.raw_decode(self.text, position)
        except json.JSONDecodeError as error:
            self.refuse(error.pos, error.msg)
        except (ValueError, RecursionError) as error:  # a key twice, a number too long, brackets in brackets
            self.refuse(position, error)

    def refuse(self, position: int, reason: ValueError | RecursionError | str) -> NoReturn:
        """Raise a `ValueError` that names file and line."""
        why = reason if isinstance(reason, str) else _reason(reason)
        cause = None if isinstance(reason, str) else reason
        raise ValueError(f"{self.name}:{self.line(position)}: malformed JSON: {why}") from cause

    def array(self, position: int) -> Iterator[tuple[int, Any]]:
        """Elements of the array that is the rest of the text, each with its line."""
        end = yield from self.elements(position)
        if self.text[end:].strip():
            self.refuse(end - 1, "text after the array")

    def elements(self, position: int) -> Generator[tuple[int, Any], None, int]:
        """Elements of the array at a position, decoded one by one; returns where the array ends."""
        position = self.skip(self.skip(position) + 1)
        while position < len(self.text) and self.text[position] != "]":
            row, end = self.value(position)
            yield self.line(position), row
            position = self.skip(end)
            if position < len(self.text) and self.text[position] == ",":
                position = self.skip(position + 1)
                if self.text[position : position + 1] == "]":
                    self.refuse(position, "a comma before the closing bracket")
            elif self.text[position : position + 1] != "]":
                self.refuse(position, "expected a comma or the closing bracket")
        if position >= len(self.text):
            self.refuse(len(self.text), "the array is not closed")
        return position + 1

    def members(self, position: int) -> Iterator[tuple[str, int, Any]]:
        """Each key of the object at a position, which is well-formed, with where its value starts, and the value."""
        position = self.skip(self.skip(position) + 1)
        while self.text[position] != "}":
            key, position = self.value(position)
            start = self.skip(self.skip(position) + 1)  # past the colon
            value, position = self.value(start)
            yield key, start, value
            position = self.skip(position)
            if self.text[position] == ",":
                position = self.skip(position + 1)

    def alone(self, value: Any) -> Iterator[tuple[int, Any]]:
        """Rows of a text that is this one value: an array of rows, an object that holds rows, or a row."""
        if isinstance(value, list) and len(value) != COMPARISON:
            yield from self.array(0)
            return
        if not isinstance(value, dict):
            yield self.line(self.skip(0)), value
            return
        self._refuse_columns(value)
        lists = [name for name, member in value.items() if _is_filled(member, list) and _all(member, dict)]
        if len(lists) > 1:
            self._refuse_object(f"an object of {len(lists)} lists of rows ({', '.join(lists)}); make each a file")
        if lists:
            yield from self.elements(next(start for name, start, _ in self.members(0) if name == lists[0]))
        elif value and _all(value.values(), dict):
            for _, start, member in self.members(0):
                yield self.line(start), member
        else:
            yield self.line(self.skip(0)), value

    def _refuse_columns(self, value: dict[str, Any]) -> None:
        """Raise a `ValueError` for the forms in which pandas writes columns."""
        indexed = len(value) > 1 and all(_is_filled(m, dict) and all(k.isdecimal() for k in m) for m in value.values())
        lists = len(value) > 1 and all(_is_filled(m, list) and not _all(m, dict) for m in value.values())
        if indexed or lists:
            self._refuse_object(
                f"an object of columns ({', '.join(value)}), not of rows; pandas writes rows with"
                ' to_json(orient="records", lines=True)'
            )

    def _refuse_object(self, what: str) -> NoReturn:
        raise ValueError(f"{self.name}:{self.line(self.skip(0))}: holds {what}")


def _is_filled(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and bool(value)


def _all(values: Iterable[Any], kind: type) -> bool:
    return all(isinstance(value, kind) for value in values)
