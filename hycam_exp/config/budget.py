"""Budgets: the size of a method whose trained parameters come closest to a number. Standard library only."""

from collections.abc import Callable

LARGEST_UNIT = 64  # a method's smallest size is looked for up to here


def closest(count: Callable[[int], int | None], budget: int) -> int | None:
    """The size, a whole number from 1 on, whose count comes closest to a budget; of two the smaller; None: no size may
    be had.

    `count` rises or falls with the size, and gives None for a size that the method does not allow: all but multiples
    of some number, or those above the backbone's width. Sizes are doubled until the budget is passed or one is not
    allowed, then halved in.
    """
    known: dict[int, int | None] = {}

    def at(size: int) -> int | None:
        if size not in known:
            known[size] = count(size)
        return known[size]

    unit = next((size for size in range(1, LARGEST_UNIT + 1) if at(size) is not None), None)
    if unit is None:
        return None
    first = at(unit) or 0

    def beyond(size: int) -> bool:
        """Not allowed, or on the other side of the budget than the smallest size."""
        found = at(size)
        return found is None or (found < budget) != (first < budget)

    low, high = 1, 2
    while not beyond(high * unit) and _distance(at(high * unit), budget) < _distance(at(low * unit), budget):
        low, high = high, 2 * high
    while beyond(high * unit) and high - low > 1:
        inside = sorted(range(low + 1, high), key=lambda step: abs(2 * step - low - high))
        middle = next((step for step in inside if at(step * unit) is not None), None)
        if middle is None:
            break
        low, high = (low, middle) if beyond(middle * unit) else (middle, high)
    return min((size for size in known if known[size] is not None), key=lambda s: (_distance(known[s], budget), s))


def _distance(found: int | None, budget: int) -> int:
    assert found is not None, "asked of allowed sizes only"
    return abs(found - budget)
