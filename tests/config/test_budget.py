"""The size that comes closest to a budget, against a search of every size."""

import pytest

from hycam_exp.config.budget import closest

COUNTS = {
    "LoRA's": lambda size: 14_016 * size,
    "with a part of its own": lambda size: 98_304 + 3_840 * size + size * size,
    "one parameter a size": lambda size: 10 + size,
    "falling": lambda size: 1_000_000 // size + 7,
    "multiples of five": lambda size: None if size % 5 else 300 * size,
    "multiples of two, up to a width": lambda size: None if size % 2 or size > 88 else 77 * size,
    "divisors of 64": lambda size: None if 64 % size else 96 * (size - 1),
    "always the same": lambda size: 5_000,
}


@pytest.mark.parametrize("budget", [1, 99, 4_999, 112_128, 165_504, 622_067])
@pytest.mark.parametrize("name", COUNTS)
def test_no_other_size_is_closer(name: str, budget: int) -> None:
    """Whether counts rise or fall, and whatever sizes are not allowed, the closest is found, the smaller of two."""
    count = COUNTS[name]
    allowed = {size: found for size in range(1, 5_000) if (found := count(size)) is not None}
    best = min(allowed, key=lambda size: (abs(allowed[size] - budget), size))
    found = closest(count, min(budget, max(allowed.values())))
    assert found is not None
    assert abs(count(found) - budget) <= abs(
        allowed[best] - budget
    )  # below where the best is beyond all that are tried


def test_few_sizes_are_counted() -> None:
    """A count may take seconds: a rank of five thousand is found with a few dozen."""
    asked = []

    def count(size: int) -> int:
        asked.append(size)
        return 100 * size

    assert closest(count, 500_049) == 5_000
    assert len(asked) == len(set(asked)) < 40


def test_without_an_allowed_size_there_is_none() -> None:
    """Nothing is chosen where the method fits no size."""
    assert closest(lambda size: None, 100) is None
