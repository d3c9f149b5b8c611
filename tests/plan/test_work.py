"""A cell as a job: what an interruption leaves of its work, and which cells become jobs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.config.grid import expand, runs
from hycam_exp.plan.accelerators import GPUS
from hycam_exp.plan.lines import Line, lines
from hycam_exp.plan.printed import _verdict
from hycam_exp.plan.work import BEGINNING, Job, LeftOut, Progress, jobs_of
from hycam_exp.records.store import Store

TEN = Job(name="ten", train=10, decode=2, checkpoint=3, start=0.5)


@pytest.mark.parametrize(
    ("worked", "left"),
    [(-0.2, 12), (2.9, 12), (3, 9), (8.9, 6), (9.5, 3), (10, 3), (11.5, 1.5)],
)
def test_work_since_the_last_checkpoint_is_lost(worked, left):
    """Checkpoints at 3, 6 and 9 hours of 10; what was decoded after training stays, and the last hour is done again."""
    assert TEN.left(TEN.after(BEGINNING, worked)) == pytest.approx(left)


def test_an_interrupted_end_of_training_is_done_again_before_decoding_goes_on():
    """From the checkpoint at 9 hours with 1.5 decoded: the tenth hour, and the rest of two."""
    then = Progress(3, 1.5)
    assert TEN.left(then) == 1.5
    assert TEN.after(then, 0.9) == then
    assert TEN.after(then, 1.2) == Progress(3, pytest.approx(1.7))


@given(
    st.floats(0.1, 20), st.floats(0, 5), st.floats(0.05, 30), st.lists(st.floats(0, 1, exclude_max=True), max_size=5)
)
def test_an_interruption_undoes_at_most_one_interval(train, decode, checkpoint, shares):
    """However often a job is interrupted, and wherever: nothing is gained, and nothing older is lost."""
    job, progress = Job(name="", train=train, decode=decode, checkpoint=checkpoint), BEGINNING
    for share in shares:
        before = job.left(progress)
        worked = share * before
        progress = job.after(progress, worked)
        lost = worked - (before - job.left(progress))
        assert -1e-6 <= lost <= job.interval + 1e-6


def planned(tmp_path: Path, *overrides: str) -> list[Line]:
    cells = expand([f"paths.results={tmp_path}/r", f"paths.outputs={tmp_path}/o", *overrides])
    return lines(cells, runs(cells), GPUS["h100_80gb"], 0.4)


def test_cells_that_a_grid_would_run_are_jobs(tmp_path):
    """A cell that failed once is one, one that failed twice is named; the hours are the forecast's."""
    (line,) = planned(tmp_path, "fold=0,1,2")
    store = Store(tmp_path / "r" / "runs", tmp_path / "o")
    for cell, times in zip(line.cells, (0, 1, 2), strict=True):
        for _ in range(times):
            store.add_failure(cell.run_id or "", ValueError("no luck"))
    jobs, left_out = jobs_of(planned(tmp_path, "fold=0,1,2"), 0.25, False)
    assert [job.name for job in jobs] == ["tiny_llama-hycam-mini-f0-s0", "tiny_llama-hycam-mini-f1-s0"]
    assert jobs[0].undisturbed == pytest.approx(0.25 + (line.forecast.hours.total or 0))
    why = "failed as often as a cell may; retry=true runs it"
    assert left_out == [LeftOut(cells=1, name="tiny_llama-hycam-mini", reason=why)]


def test_checkpoints_are_the_trainers_or_the_validations(tmp_path):
    """The mini recipe validates more often than every 50 steps; with a checkpoint each 2 steps those count."""
    (often,), (line,) = (planned(tmp_path, *more) for more in (["trainer.checkpoint_every_steps=2"], []))
    (job,), _ = jobs_of([often], 0.0, False)
    assert often.forecast.steps is not None
    assert job.interval == pytest.approx(job.train * 2 / often.forecast.steps)
    assert line.forecast.checkpoint_steps < 50


def test_what_does_not_fit_runs_with_its_remedy_only_when_asked(tmp_path):
    """Full fine-tuning of 8 billion weights: left out with the way out, or a job on the remedy's GPUs."""
    found = planned(tmp_path, "model=llama3_8b", "method=full_ft")
    none, (left,) = jobs_of(found, 0.0, False)
    assert none == []
    assert left.reason == f"does not fit; fits with {found[0].forecast.remedy}"
    assert left.reason == found[0].forecast.obstacle == _verdict(found[0].forecast)
    (job,), rest = jobs_of(found, 0.0, True)
    assert (job.gpus, job.nodes, rest) == (4, 1, [])


def test_cells_of_unknown_length_are_left_out(tmp_path):
    """Data of one's own that are not there."""
    jobs, (left,) = jobs_of(planned(tmp_path, "data=generic", "data.root=nowhere"), 0.0, False)
    assert (jobs, left.reason) == ([], "how long it takes is not known")
