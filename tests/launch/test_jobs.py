"""The cells of a multirun before the first of them starts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hycam_exp.launch.jobs import Grid, GridLauncher, Job, jobs_of
from hycam_exp.launch.local import LocalJob
from hycam_exp.records.record import SCHEMA_VERSION
from tests.made import RECORD, made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not a whole run record .*; move it away"),
        (
            lambda text: text.replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'),
            "version 99 is newer",
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_left_alone(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    """Before any cell starts, with all others of its kind, overwrite=true or not; the file stays as it is."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    cells = [["fold=0", *paths], ["fold=1", *paths], ["fold=2", *paths]]
    found = jobs_of(LocalJob, cells)
    broken = []
    for cell in found[:2]:
        cell.store.write(made(run_id=cell.run_id))
        broken.append(cell.store.record_path(cell.run_id))
        broken[-1].write_text(change(broken[-1].read_text()))
    before = [path.read_bytes() for path in broken]
    for extra in ([], ["overwrite=true"]):
        with pytest.raises(ValueError, match=message) as caught:
            jobs_of(LocalJob, [[*cell, *extra] for cell in cells])
        assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [str(path) for path in broken]
    assert [path.read_bytes() for path in broken] == before


def test_all_that_is_wrong_with_a_grid_is_told_before_a_cell_starts(tmp_path: Path) -> None:
    """Strategy, data, backbone, folder and record: a line each, however many cells share it."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    (fine,) = jobs_of(LocalJob, [paths])
    record = fine.store.record_path(fine.run_id)
    record.write_text("{")
    (tmp_path / "file").touch()
    wrong = {
        "zero3 cannot carry": ["method=riemoe_lora", "trainer=zero3", "trainer.devices=2", "trainer.accelerator=cpu"],
        "data.root=nowhere": ["data=auto_cot", "data.root=nowhere/data"],
        "model.path=nowhere": ["model=local", "model.path=nowhere/model"],
        "cannot write in": [f"paths.outputs={tmp_path / 'file'}"],
        str(record): [],
    }
    cells = [[*paths, *changes, f"fold={fold}"] for changes in wrong.values() for fold in (0, 1)]
    with pytest.raises(ValueError, match="nowhere") as caught:
        jobs_of(LocalJob, cells)
    lines = str(caught.value).splitlines()
    assert sorted(part for part in wrong for line in lines if part in line) == sorted(wrong)
    assert len(lines) == len(wrong)


class Written(Grid[Job]):
    """Cells whose records are there at once."""

    def run_all(self) -> None:
        for number, job in enumerate(self.jobs):
            job.store.write(made(run_id=job.run_id, fit=replace(RECORD.fit, best_validation_loss=1.0 + number)))


class Writing(GridLauncher):
    """A launcher that writes them."""

    def grid(self, job_overrides: Sequence[Sequence[str]]) -> Written:
        return Written(jobs_of(Job, job_overrides))


def test_a_sweeper_is_given_each_cells_best_validation_loss(tmp_path: Path) -> None:
    """In the order it asked, also of two trials that are one cell; and the folder that it writes in is there."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    trials = [["fold=0", *paths], ["fold=1", *paths], ["fold=0", *paths, "trainer.micro_batch_size=1"]]
    launcher = Writing()
    sweep = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "multirun")}}})
    launcher.setup(hydra_context=None, task_function=None, config=sweep)
    assert [found.return_value for found in launcher.launch(trials, 0)] == [1.0, 2.0, 1.0]
    assert (tmp_path / "multirun").is_dir()


def test_a_cell_without_a_record_has_no_loss(tmp_path: Path) -> None:
    """As one that is queued and not waited for."""
    (job,) = jobs_of(Job, [[f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]])
    assert job.best_validation_loss() is None
