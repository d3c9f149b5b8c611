"""What all commands share: a user's mistake is one line, `error: ...`, on standard error."""

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse without its block of usage above an error."""

    def error(self, message: str) -> NoReturn:
        refuse(message)


def refuse(message: str) -> NoReturn:
    """End with what is wrong with the options, exit status 2, as argparse has it."""
    print(f"error: {message} (--help lists the options)", file=sys.stderr)
    sys.exit(2)


def as_errors(problem: object) -> str:
    """Every line of it marked, so that none is read as ordinary output."""
    return "\n".join(f"error: {line}" for line in str(problem).splitlines())
