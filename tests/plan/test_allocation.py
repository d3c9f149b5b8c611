"""Which allocation to ask for, and which cells become its jobs."""

import math
from pathlib import Path

import pytest

from hycam_exp.config.grid import expand, runs
from hycam_exp.plan.allocation import AllocationRequest, LeftOut, allocation, jobs_of, numbers, submissions
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.lines import PlanLine, lines
from hycam_exp.plan.printout import _verdict
from hycam_exp.plan.simulation import SimulatedJob
from hycam_exp.records.store import Store

JOBS = [SimulatedJob(name=f"job {n}", train=2.0, checkpoint=0.5, start=0.1) for n in range(10)]


def test_numbers_of_gpus_up_to_twice_as_many():
    """Powers of two, the number itself and its double."""
    assert numbers(8) == [1, 2, 4, 8, 16]
    assert numbers(6) == [1, 2, 4, 6, 8, 12]
    assert numbers(1) == [1, 2]


def test_rows_say_how_near_they_are_to_the_bound():
    """Ten jobs of 2.1 hours: on one GPU 21 hours, on eight two rounds, where 2.625 would be the least."""
    found = allocation(JOBS, AllocationRequest(gpus=8))
    rows = {(row.gpus, row.policy): row for row in found.rows}
    assert (found.jobs, found.gpu_hours, found.longest) == (10, pytest.approx(21), 2.1)
    assert rows[1, "fifo"].makespan == pytest.approx(21)
    eight = rows[8, "lpt"]
    assert (eight.lower_bound, eight.makespan) == (pytest.approx(2.625), 4.2)
    assert (eight.mean, eight.low, eight.high) == (4.2, 4.2, 4.2)
    assert (eight.gpu_hours_used, eight.utilisation) == (pytest.approx(21), pytest.approx(21 / (8 * 4.2)))
    assert eight.gpu_hours_lost == pytest.approx(0)


def test_repetitions_give_a_range_that_a_seed_repeats():
    """Mean between the quantiles, lost hours, and the same numbers again."""
    request = AllocationRequest(gpus=4, preemptions_per_day=6, repetitions=20, seed=3)
    found = allocation(JOBS, request)
    assert found == allocation(JOBS, request)
    row = next(row for row in found.rows if row.gpus == 4)
    assert row.makespan is not None
    assert row.low is not None
    assert row.mean is not None
    assert row.high is not None
    assert row.low < row.mean < row.high
    assert row.mean > row.makespan
    assert row.gpu_hours_lost is not None
    assert row.gpu_hours_lost > 0


def test_a_job_that_has_no_room_leaves_a_row_empty():
    """Two nodes of four GPUs are not on four."""
    found = allocation(
        [SimulatedJob(name="wide", gpus=4, nodes=2, train=1)], AllocationRequest(gpus=8, gpus_per_node=4)
    )
    room = {row.gpus: row.makespan for row in found.rows}
    assert room == {1: None, 2: None, 4: None, 8: 1, 16: 1}


def test_the_line_for_slurm():
    """An array for each shape: a quarter more than the longest, in tens of minutes, or the limit that was given."""
    jobs = [*JOBS, SimulatedJob(name="wide", gpus=4, nodes=2, train=3.0)]
    assert submissions(jobs, AllocationRequest(gpus=8)) == [
        "sbatch --array=0-9%8 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --time=02:40:00",
        "sbatch --array=0-0%1 --nodes=2 --ntasks-per-node=1 --gpus-per-node=4 --time=03:50:00",
    ]
    (line,) = submissions(JOBS, AllocationRequest(gpus=2, time_limit=1.1))
    assert line.endswith("--array=0-9%2 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --time=01:06:00 --requeue")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gpus": 0}, "--gpus=0: must be at least 1"),
        ({"gpus_per_node": 0}, "--gpus-per-node=0: must be at least 1"),
        ({"preemptions_per_day": -1.0}, "--preemptions-per-day=-1.0: must not be negative, nor infinite"),
        ({"time_limit": math.inf}, "--time-limit=inf: must be above 0 and finite"),
        ({"time_limit": 0.0}, "--time-limit=0.0: must be above 0 and finite"),
    ],
)
def test_a_request_is_checked(fields, message):
    """The option and its value."""
    with pytest.raises(ValueError, match=message):
        AllocationRequest(**{"gpus": 8, **fields})


@pytest.mark.parametrize(
    ("fields", "option"),
    [({"time_limit": 0.6}, "--time-limit=0.6: too short"), ({"preemptions_per_day": 200.0}, "200.0: too many")],
)
def test_what_would_never_get_on_is_refused(fields, option):
    """A start and the way to the next checkpoint take 0.6 hours."""
    with pytest.raises(ValueError, match=rf"{option}: job 0 takes 0.60 h from a start to its next checkpoint"):
        allocation(JOBS, AllocationRequest(gpus=8, **fields))


def test_no_jobs_are_no_time():
    """Where all cells are done."""
    found = allocation([], AllocationRequest(gpus=2))
    assert (found.jobs, found.longest, found.submissions) == (0, 0.0, [])
    assert all(row.makespan == 0 and not math.isnan(row.utilisation or 0) for row in found.rows)


def planned(tmp_path: Path, *overrides: str) -> list[PlanLine]:
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
    assert [job.name for job in jobs] == ["tiny_llama-hycam-mini-f0-s0", "tiny_llama-hycam-mini-f1-s1"]
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
