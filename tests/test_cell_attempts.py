"""Attempts at a cell: which of them goes on from the one before, and what it says of it."""

import json
from dataclasses import replace

import pytest

from hycam_exp.cell import CONTINUING, Cell
from hycam_exp.data.sources import Collection
from hycam_exp.launch.cell_status import store_of
from hycam_exp.runtime.cost import Clock
from tests.test_cell import quick


def test_an_attempt_of_other_micro_batches_is_not_continued(tmp_path):
    """Lightning's place in the epoch is counted in them; the record says that it began again."""
    run = quick(tmp_path)
    other = replace(run, trainer=replace(run.trainer, micro_batch_size=1))
    for attempt, (of, is_kept) in enumerate([(run, True), (run, True), (other, False)], start=1):
        cell = Cell(of, "cell", store_of(of), Collection(records=[], rejections=[], sources=[]), Clock())
        (cell.folder / "training").mkdir(parents=True, exist_ok=True)
        assert cell._begin_attempt() == attempt
        assert (cell.folder / "training").exists() == is_kept
    before = f"micro batch size {min(run.trainer.micro_batch_size, run.recipe.global_batch_size)}, now 1"
    assert cell.notes == [f"an earlier attempt was not continued: it was made with {before}"]


@pytest.mark.parametrize("name", ["results version", "strategy", "ranks", "micro batch size", *CONTINUING])
def test_an_attempt_of_another_version_or_strategy_is_not_continued(tmp_path, name, capsys):
    """Whatever decides how an attempt goes on is in attempt.json; another value begins it again, and says so."""
    run = quick(tmp_path)
    cell = Cell(run, "cell", store_of(run), Collection(records=[], rejections=[], sources=[]), Clock())
    assert cell._begin_attempt() == 1
    (cell.folder / "training").mkdir(parents=True)
    state = cell.folder / "attempt.json"
    kept = json.loads(state.read_text())
    state.write_text(json.dumps({**kept, name: "other"}))
    assert cell._begin_attempt() == 2
    assert not (cell.folder / "training").exists()
    assert cell.notes == [f"an earlier attempt was not continued: it was made with {name} other, now {kept[name]}"]
    assert cell.notes[0] in capsys.readouterr().out


@pytest.mark.parametrize("name", ["results version", "strategy", *CONTINUING])
def test_resume_always_continues_with_other_packages(tmp_path, name, capsys):
    """Of another version of a package the attempt goes on, and the record will say so; never of other results."""
    run = quick(tmp_path, "resume=always")
    cell = Cell(run, "cell", store_of(run), Collection(records=[], rejections=[], sources=[]), Clock())
    cell._begin_attempt()
    (cell.folder / "training").mkdir(parents=True)
    state = cell.folder / "attempt.json"
    kept = json.loads(state.read_text())
    state.write_text(json.dumps({**kept, name: "other"}))
    cell._begin_attempt()
    assert (cell.folder / "training").exists() == (name in CONTINUING)
    what = "continued by resume=always" if name in CONTINUING else "not continued"
    assert cell.notes == [f"an earlier attempt was {what}: it was made with {name} other, now {kept[name]}"]


@pytest.mark.parametrize("name", ["training", "predictions"])
def test_a_linked_folder_of_an_attempt_is_refused(tmp_path, name):
    """What a symbolic link points to is neither gone on from nor removed."""
    run = quick(tmp_path)
    cell = Cell(run, "cell", store_of(run), Collection(records=[], rejections=[], sources=[]), Clock())
    cell.folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (cell.folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"^{cell.folder / name}: a symbolic link, which is not followed"):
        cell._begin_attempt()
    assert (tmp_path / "elsewhere").is_dir()


def test_an_attempt_with_a_damaged_checkpoint_begins_training_again(tmp_path, capsys):
    """It is set aside, on the screen and in the record's notes; what was decoded before stays."""
    run = quick(tmp_path)
    cell = Cell(run, "cell", store_of(run), Collection(records=[], rejections=[], sources=[]), Clock())
    cell._begin_attempt()
    for name in ("training", "predictions"):
        (cell.folder / name).mkdir()
    (cell.folder / "training" / "last.ckpt").write_bytes(b"without a seal")
    cell._begin_attempt()
    told = "last.ckpt was damaged: training began again, and what there was lies in training.damaged"
    assert cell.notes == [told]
    assert f"cell: {told}\n" in capsys.readouterr().out
    assert {path.name for path in cell.folder.iterdir() if path.is_dir()} == {"training.damaged", "predictions"}


def test_the_notes_of_an_attempt_outlive_it(tmp_path):
    """An attempt that is interrupted tells the one that goes on from it, for the record; a fresh start has none."""
    run = quick(tmp_path)
    other = replace(run, trainer=replace(run.trainer, micro_batch_size=1))
    told = []
    for of in (run, other, other, replace(other, resume="never")):
        cell = Cell(of, "cell", store_of(of), Collection(records=[], rejections=[], sources=[]), Clock())
        cell._begin_attempt()
        told.append(cell.notes)
    assert [len(notes) for notes in told] == [0, 1, 1, 0]
    assert told[2] == told[1]


def test_a_damaged_state_of_an_attempt_is_named(tmp_path):
    """The error has the file, and what to do."""
    run = quick(tmp_path)
    cell = Cell(run, "cell", store_of(run), Collection(records=[], rejections=[], sources=[]), Clock())
    cell.folder.mkdir(parents=True)
    for content in ("", "[]", "{}"):
        (cell.folder / "attempt.json").write_text(content)
        with pytest.raises(ValueError, match=rf"^{cell.folder}/attempt.json: .*; move {cell.folder} away"):
            cell._begin_attempt()
