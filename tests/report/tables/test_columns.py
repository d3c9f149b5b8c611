"""What columns show."""

import re
from pathlib import Path

from hycam_exp.command_line import MARK
from hycam_exp.evaluation.retention import TASK
from hycam_exp.report.select import summarise
from hycam_exp.report.tables import columns as measure
from tests.report.toy import record

SOURCES = sorted(Path(measure.__file__).parents[1].rglob("*.py"))


def test_general_text_is_no_score() -> None:
    """It has a direction, and no place among the scores that are ranked and starred."""
    assert all(one.is_score for one in measure.SCORES)
    assert not measure.GENERAL_TEXT.is_score
    assert measure.GENERAL_TEXT.task == TASK


def test_seconds_are_those_of_all_phases() -> None:
    """Of every fold."""
    (summary,) = summarise([record(0, 2.0), record(1, 2.0)])
    assert measure.SECONDS.values(summary) == [3.0, 3.0]


def test_names_of_others_are_written_by_them() -> None:
    """The task of general text, and the mark of an error, are literals nowhere in the report."""
    literal = re.compile(rf'"ppl_change", (task=)?"{TASK}"|task [=!]= "{TASK}"|f?"{MARK}')
    assert len(SOURCES) > 50
    assert [path.name for path in SOURCES if literal.search(path.read_text())] == []
