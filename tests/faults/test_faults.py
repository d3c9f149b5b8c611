"""Kills and flipped bits at reduced counts; `python -m tests.faults.faulty_cells FOLDER` runs the full ones."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults import faulty_cells

KILLS, FLIPS = 8, 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    return faulty_cells.undisturbed(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
def test_a_kill_at_any_event_changes_nothing(tmp_path: Path, undisturbed: tuple[dict[str, Any], int]) -> None:
    """Killed before the first, the last, and events between, the same command gives the same record to the bit, and
    no temporary file is left."""
    expected, events = undisturbed
    chosen = [1 + place for place in faulty_cells.spread(events, KILLS)]
    assert faulty_cells.killed(tmp_path, expected, chosen) == KILLS


@pytest.mark.slow
def test_a_flipped_bit_in_any_file_is_seen(tmp_path: Path, undisturbed: tuple[dict[str, Any], int]) -> None:
    """In every file of an interrupted cell: the record is the undisturbed one's, or one line names the file."""
    expected, events = undisturbed
    found = faulty_cells.flipped(tmp_path, faulty_cells.interrupted(tmp_path, events), expected, FLIPS)
    assert found["equal"] > 10
