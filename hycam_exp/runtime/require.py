"""Laws that a value of the user's must keep: a `ValueError` of one line names the field, the value and the law."""

import re

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")


def require(holds: bool, field: str, value: object, law: str) -> None:
    """Raise a `ValueError` that names the field, its value and the law it breaks."""
    if not holds:
        raise ValueError(f"{field}={value}: {law}")


def require_one_of(options: tuple[str, ...], field: str, value: object) -> None:
    """Raise a `ValueError` unless the value is one of the options."""
    require(value in options, field, value, f"must be one of {', '.join(options)}")


def require_plain_name(field: str, name: object) -> None:
    """Raise a `ValueError`, of one line, unless a name can be part of a file's name and of no other folder's path."""
    if isinstance(name, str) and _PLAIN_NAME.fullmatch(name):
        return
    shown = ascii(name)[1:-1] if isinstance(name, str) else str(name)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    law = "must be a plain name: letters, digits, '.', '_' and '-', at most 80, and no '.' in front"
    raise ValueError(f"{field}={shown}: {law}")
