"""A curve as a record keeps it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.records.build import MOST_ROWS, windows


def rows(losses: list[float]) -> list[dict[str, float]]:
    return [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]


def test_a_long_curve_is_kept_as_means_of_windows():
    """Of seven steps in three rows: three, three and one, each under its last step; a short one stays as it is."""
    curve = rows([1.0, 2.0, 6.0, 4.0, 4.0, 7.0, 8.0])
    assert windows(curve, most=3) == [{"step": 3, "loss": 3.0}, {"step": 6, "loss": 5.0}, {"step": 7, "loss": 8.0}]
    assert windows(curve, most=7) == curve
    assert windows([], most=3) == []


@given(st.lists(st.floats(0, 100), min_size=1, max_size=2_000), st.integers(1, MOST_ROWS))
def test_windows_keep_the_area_under_a_curve(losses: list[float], most: int):
    """At most so many rows, the last step's number, and the losses' sum weighted by each row's steps."""
    found = windows(rows(losses), most)
    assert len(found) <= most
    assert found[-1]["step"] == len(losses)
    steps = [0, *(row["step"] for row in found)]
    area = sum(row["loss"] * (row["step"] - before) for before, row in zip(steps, found, strict=False))
    assert area == pytest.approx(sum(losses), rel=1e-9, abs=1e-9)
