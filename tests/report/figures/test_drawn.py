from dataclasses import replace

import pytest

from hycam_exp.report.figures.drawn import Drawn
from hycam_exp.report.summary import summarise
from hycam_exp.runs import Store
from tests.report.figures.made import record


@pytest.fixture
def drawn(tmp_path):
    """A figure of one record, drawn and remembered."""
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "tau.png").write_bytes(b"picture")
    memory = Drawn(tmp_path / "drawn.json", tmp_path / "runs")
    memory.keep("mix/tau", members(tmp_path), tmp_path, [tmp_path / "mix" / "tau.png"])
    memory.save()
    return tmp_path


def members(folder, *, folds=(0,), **changes):
    """Summaries of records that lie in a results folder."""
    records = [replace(record(fold=fold), **changes) for fold in folds]
    for one in records:
        Store(folder, folder).write(one)
    return summarise(records)


def files(folder, known):
    return Drawn(folder / "drawn.json", folder / "runs").files("mix/tau", known, folder)


def test_a_figure_of_the_same_records_is_known(drawn):
    """In another process, too: its files are told without drawing."""
    assert files(drawn, members(drawn)) == [drawn / "mix" / "tau.png"]


def test_another_record_is_drawn_again(drawn):
    """A record that differs in anything, or one more, and the figure is not known."""
    assert files(drawn, members(drawn, notes=["another"])) is None
    assert files(drawn, members(drawn, folds=(0, 1))) is None


def test_a_picture_that_was_changed_or_lost_is_drawn_again(drawn):
    """The files on disk are compared, not believed."""
    (drawn / "mix" / "tau.png").write_bytes(b"another")
    assert files(drawn, members(drawn)) is None
    (drawn / "mix" / "tau.png").unlink()
    assert files(drawn, members(drawn)) is None


def test_a_damaged_memory_draws_everything(drawn):
    """A file that was cut off is as none."""
    (drawn / "drawn.json").write_text('{"mix/tau": {"rec')
    assert files(drawn, members(drawn)) is None
