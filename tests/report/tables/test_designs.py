"""What tables and columns are."""

import re
from pathlib import Path

from hycam_exp.config import compose as config
from hycam_exp.evaluation.retention import TASK
from hycam_exp.report.tables import designs
from hycam_exp.runtime.command_line import MARK
from tests.report.toy import record, rows_of

SOURCES = sorted(Path(designs.__file__).parents[1].rglob("*.py"))


def test_general_text_is_no_score() -> None:
    """It has a direction, and no place among the scores that are ranked and starred."""
    assert all(one.is_score for one in designs.SCORES)
    assert not designs.GENERAL_TEXT.is_score
    assert designs.GENERAL_TEXT.task == TASK


def test_seconds_are_those_of_all_phases() -> None:
    """Of every fold."""
    (row,) = rows_of([record(0, 2.0), record(1, 2.0)])
    assert designs.SECONDS.values(row) == [3.0, 3.0]


def test_every_table_is_of_an_experiment_file() -> None:
    """Which its missing cells' commands name."""
    for design in designs.DESIGNS:
        assert (config.config_dir() / "experiment" / f"{design.experiment}.yaml").is_file(), design.name


def test_names_of_others_are_written_by_them() -> None:
    """The task of general text, and the mark of an error, are literals nowhere in the report."""
    literal = re.compile(rf'"ppl_change", (task=)?"{TASK}"|task [=!]= "{TASK}"|f?"{MARK}')
    assert len(SOURCES) > 40
    assert [path.name for path in SOURCES if literal.search(path.read_text())] == []
