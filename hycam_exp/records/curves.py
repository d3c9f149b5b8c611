"""A training curve as a record keeps it."""

from collections.abc import Sequence
from statistics import fmean

MOST_ROWS = 500  # a record of every step of the paper's runs would be 1.7 MB


def windows(curve: Sequence[dict[str, float]], most: int = MOST_ROWS) -> list[dict[str, float]]:
    """A training curve as it is; of more than so many rows, the means over windows of as many steps, the last perhaps
    shorter, each under the number of its last step. The CSV in outputs/ has every step.
    """
    width = -(-len(curve) // most) if curve else 1
    if width == 1:
        return list(curve)
    parts = [curve[start : start + width] for start in range(0, len(curve), width)]
    return [
        {name: fmean(row[name] for row in part) for name in part[-1]} | {"step": part[-1]["step"]} for part in parts
    ]
