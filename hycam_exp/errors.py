"""Errors as a person reads them: lines that are marked, so that none passes for ordinary output.

    error: fold=7: must be in 0..4

A launcher finds them by their mark in what a cell printed. Standard library only.
"""

MARK = "error: "


def marked(problem: object) -> str:
    """What is wrong, every line of it marked."""
    return "\n".join(f"{MARK}{line}" for line in str(problem).splitlines())
