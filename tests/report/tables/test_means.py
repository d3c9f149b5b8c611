"""Means over folds as the command prints them."""

import io
import re

import pytest
from rich.console import Console

from hycam_exp.report.tables.means import means
from tests.report.toy import record, selection_of

LONG = "hycam_inverse_peft"


def lines(width: int) -> list[str]:
    stream = io.StringIO()
    made = [
        record(fold, ppl + fold / 10, method, clip)
        for method, ppl, clip in ((LONG, 1234.5, 1.0), (LONG, 2.0, None), ("lora", 3.0, 1.0))
        for fold in range(3)
    ]
    means(selection_of(made), Console(file=stream, width=width))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 200])
def test_every_mean_and_spread_is_whole(width: int) -> None:
    """In a terminal of 80 columns too, and none of its lines is longer; names are whole there."""
    text = lines(width)
    assert max(map(len, text)) <= width
    assert sorted(re.findall(r"[\d.]+\d{3}\b", "\n".join(text))) == ["0.100"] * 3 + ["1234.600", "2.100", "3.100"]
    assert sum(LONG in line for line in text) == 2
    assert "\N{HORIZONTAL ELLIPSIS}" not in "\n".join(text)
