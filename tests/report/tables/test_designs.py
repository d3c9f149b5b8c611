"""What tables and columns are."""

import re
from pathlib import Path

from hycam_exp.config import compose as config
from hycam_exp.config.methods import METHODS
from hycam_exp.evaluation.retention import TASK
from hycam_exp.records.version import RESULTS_VERSION
from hycam_exp.report.tables import designs
from hycam_exp.report.tables.build import build
from hycam_exp.runtime.command_line import MARK
from tests.made import RECORD
from tests.report.toy import known_experiments, record, records_of_grid, rows_of, selection_of

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


def test_the_leaderboard_says_what_a_score_took() -> None:
    """Learning rate and peak memory of each method, and whether it was told the task."""
    records = records_of_grid("leaderboard", lambda method, fold, seed: 2.0, RESULTS_VERSION)
    (table,) = [t for t in build(selection_of(records), known_experiments()).tables if t.name == "leaderboard"]
    said = {
        row.label: [column.shown(c.value) for column, c in zip(table.columns, row.cells, strict=True)][-3:]
        for row in table.rows
    }
    memory = f"{RECORD.cost.peak_memory.bytes / 2**20:,.0f}"
    assert said["LoRA"] == [memory, "0.003", "no"]
    assert said["HyCAM"] == [memory, "0.01", "no"]
    assert {label for label, (_, _, told) in said.items() if told == "yes"} == {"MTL-LoRA", "MOELoRA"}
    assert len(said) == len([name for name in METHODS if name != "peft" and not name.startswith("hycam_")])
