from dataclasses import replace

import pytest

from hycam_exp.report.figures.drawn import Drawn
from hycam_exp.report.figures.lines import over_folds
from hycam_exp.report.select import summarise
from hycam_exp.runs import Store
from tests.report.figures.made import record


@pytest.fixture
def drawn(tmp_path):
    """A figure of one record, drawn and remembered."""
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "tau.png").write_bytes(b"picture")
    memory = Drawn(tmp_path / "drawn.json", tmp_path / "runs")
    memory.keep("mix/tau", shown(tmp_path), tmp_path, [tmp_path / "mix" / "tau.png"])
    memory.save()
    return tmp_path


def shown(folder, *, folds=(0,), **changes):
    """The lines of records that lie in a results folder."""
    records = [replace(record(fold=fold), **changes) for fold in folds]
    for one in records:
        Store(folder, folder).write(one)
    return over_folds(summarise(records))


def files(folder, known):
    return Drawn(folder / "drawn.json", folder / "runs").files("mix/tau", known, folder)


def test_a_figure_of_the_same_records_is_known(drawn):
    """In another process, too: its files are told without drawing."""
    assert files(drawn, shown(drawn)) == [drawn / "mix" / "tau.png"]


def test_files_are_told_in_the_order_in_which_they_were_drawn(tmp_path):
    """Which the page shows them in, so that a figure's place does not depend on what was drawn anew."""
    names = ["b.png", "a.png", "c.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"picture")
    memory = Drawn(tmp_path / "drawn.json", tmp_path / "runs")
    memory.keep("mix/tau", shown(tmp_path), tmp_path, [tmp_path / name for name in names])
    memory.save()
    assert files(tmp_path, shown(tmp_path)) == [tmp_path / name for name in names]


def test_another_record_is_drawn_again(drawn):
    """A record that differs in anything, or one more, and the figure is not known."""
    assert files(drawn, shown(drawn, notes=["another"])) is None
    assert files(drawn, shown(drawn, folds=(0, 1))) is None


def test_a_picture_that_was_changed_or_lost_is_drawn_again(drawn):
    """The files on disk are compared, not believed."""
    (drawn / "mix" / "tau.png").write_bytes(b"another")
    assert files(drawn, shown(drawn)) is None
    (drawn / "mix" / "tau.png").unlink()
    assert files(drawn, shown(drawn)) is None


@pytest.mark.parametrize(
    "content", ['{"mix/tau": {"rec', "null", "[]", '{"mix/tau": {"records": "0"}}', '{"code": "other"}']
)
def test_a_memory_that_is_damaged_or_of_other_code_draws_everything(drawn, content):
    """Such a file is as none."""
    (drawn / "drawn.json").write_text(content)
    assert files(drawn, shown(drawn)) is None
