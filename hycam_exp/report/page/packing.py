"""Values packed into text for the page: what repeats is kept once, and JSON is compressed.

Unpacked in the browser by payload.js: base64, then `DecompressionStream("deflate")`, then JSON.
"""

import base64
import json
import math
import zlib
from typing import Any

_LEVEL = 6


class Pool:
    """Values by number, equal ones once: most of a run's config is the same in all runs."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        """The number of a value; a new one for a value not seen before."""
        key = json.dumps(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def packed(value: Any) -> str:
    """A value as base64 of deflated JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), _LEVEL)).decode()


def inline_json(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def rounded(value: Any, digits: int = 6) -> Any:
    """The value with every float, however deep, to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):  # faster than `list | tuple`, and this is called for every number of a run
        return [rounded(inner, digits) for inner in value]
    return value
