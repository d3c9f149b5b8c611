"""Upstream files as rows with their line numbers: a JSON array or JSON Lines, gzipped or not. Standard library only."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = (".json", ".jsonl")


GZIP = b"\x1f\x8b"


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Every row of an upstream file with the line it starts on.

    Raises:
        ValueError: the file is not UTF-8, or not JSON; names file and line.
    """
    content = text(path)
    array = content.lstrip()[:1] == "[" and path.name.removesuffix(".gz").endswith(".json")
    yield from _array(path, content) if array else _lines(path, content)


def text(path: Path) -> str:
    """A text file's content, unpacked, without byte order mark, with one form of line end.

    Raises:
        ValueError: the file is no whole gzip file, or not UTF-8; names the line.
    """
    data = path.read_bytes()
    if data.startswith(GZIP):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}:1: malformed gzip: {error}") from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8 text (byte {error.start})") from error


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Rows of a JSON Lines file; blank lines hold none."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}:{number}: malformed JSON: {_reason(error)}") from error


def _reason(error: ValueError | RecursionError) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _array(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Elements of a JSON array, decoded one by one, so that each knows its line."""
    decoder = json.JSONDecoder()
    position, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))

    def skip(position: int) -> int:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        return position

    counted, position = position, skip(position)
    while position < len(text) and text[position] != "]":
        line, counted = line + text.count("\n", counted, position), position
        try:
            row, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{error.lineno}: malformed JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:  # a number with too many digits, brackets in brackets
            raise ValueError(f"{path}:{line}: malformed JSON: {_reason(error)}") from error
        yield line, row
        position = skip(end)
        if position < len(text) and text[position] == ",":
            position = skip(position + 1)
            if text[position : position + 1] == "]":
                break_line = 1 + text.count("\n", 0, position)
                raise ValueError(f"{path}:{break_line}: malformed JSON: a comma before the closing bracket")
        elif text[position : position + 1] != "]":
            break_line = 1 + text.count("\n", 0, position)
            raise ValueError(f"{path}:{break_line}: malformed JSON: expected a comma or the closing bracket")
    if position >= len(text):
        raise ValueError(f"{path}:{1 + text.count(chr(10))}: malformed JSON: the array is not closed")
    if text[position + 1 :].strip():
        raise ValueError(f"{path}:{1 + text.count(chr(10), 0, position)}: malformed JSON: text after the array")
