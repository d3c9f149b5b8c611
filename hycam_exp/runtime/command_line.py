"""What all commands share: key=value arguments, and a user's mistake as one line, `error: ...`, on standard error."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from hycam_exp.config.methods import require

MARK = "error: "
"""Of a line that says what is wrong: a launcher finds it in what a cell printed."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Parser(argparse.ArgumentParser):
    """argparse without its block of usage above an error."""

    def error(self, message: str) -> NoReturn:
        refuse(message)


def refuse(message: str) -> NoReturn:
    """End with what is wrong with the options, exit status 2, as argparse has it."""
    print(f"{MARK}{visible(message)} (--help lists the options)", file=sys.stderr)
    sys.exit(2)


def leave_pipe() -> NoReturn:
    """End without a word: who reads the output has seen enough and closed the pipe, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush at the end fails again
    sys.exit(1)


def visible(text: str) -> str:
    """A text from elsewhere as a terminal is to show it: control characters but line ends and tabs as escapes, so that
    none is obeyed."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def as_errors(problem: object) -> str:
    """Every line of it marked, so that none is read as ordinary output."""
    return "\n".join(f"{MARK}{visible(line)}" for line in str(problem).splitlines())


@contextmanager
def noting(wrong: list[str]) -> Iterator[None]:
    """Keep what a user can mend, and go on, so that all of it can be told at once."""
    try:
        yield
    except ValueError as error:
        wrong.append(str(error))


def key_values(arguments: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The arguments, key=value as Hydra's overrides are, over the defaults, whose keys are all that there are.

    Raises:
        ValueError: an argument is no key=value, or its key is unknown.
    """
    found = dict(defaults)
    for argument in arguments:
        key, separator, value = argument.partition("=")
        require(bool(separator) and key in defaults, "argument", argument, f"must be one of {'=, '.join(defaults)}=")
        found[key] = value
    return found
