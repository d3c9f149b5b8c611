"""What all commands share: a user's mistake is one line, `error: ...`, on standard error."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse without its block of usage above an error; exit status 2, as argparse has it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def as_errors(problem: object) -> str:
    """Every line of it marked, so that none is read as ordinary output."""
    return "\n".join(f"error: {line}" for line in str(problem).splitlines())
