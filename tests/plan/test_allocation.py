"""Which allocation to ask for."""

import math

import pytest

from hycam_exp.plan.allocation import Request, allocation, numbers, submissions
from hycam_exp.plan.work import Job

JOBS = [Job(name=f"job {n}", train=2.0, checkpoint=0.5, start=0.1) for n in range(10)]


def test_numbers_of_gpus_up_to_twice_as_many():
    """Powers of two, the number itself and its double."""
    assert numbers(8) == [1, 2, 4, 8, 16]
    assert numbers(6) == [1, 2, 4, 6, 8, 12]
    assert numbers(1) == [1, 2]


def test_rows_say_how_near_they_are_to_the_bound():
    """Ten jobs of 2.1 hours: on one GPU 21 hours, on eight two rounds, where 2.625 would be the least."""
    found = allocation(JOBS, Request(gpus=8))
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
    request = Request(gpus=4, preemptions_per_day=6, repetitions=20, seed=3)
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
    found = allocation([Job(name="wide", gpus=4, nodes=2, train=1)], Request(gpus=8, gpus_per_node=4))
    room = {row.gpus: row.makespan for row in found.rows}
    assert room == {1: None, 2: None, 4: None, 8: 1, 16: 1}


def test_the_line_for_slurm():
    """An array for each shape: a quarter more than the longest, in tens of minutes, or the limit that was given."""
    jobs = [*JOBS, Job(name="wide", gpus=4, nodes=2, train=3.0)]
    assert submissions(jobs, Request(gpus=8)) == [
        "sbatch --array=0-9%8 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --time=02:40:00",
        "sbatch --array=0-0%1 --nodes=2 --ntasks-per-node=1 --gpus-per-node=4 --time=03:50:00",
    ]
    (line,) = submissions(JOBS, Request(gpus=2, time_limit=1.1))
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
        Request(**{"gpus": 8, **fields})


@pytest.mark.parametrize(
    ("fields", "option"),
    [({"time_limit": 0.6}, "--time-limit=0.6: too short"), ({"preemptions_per_day": 200.0}, "200.0: too many")],
)
def test_what_would_never_get_on_is_refused(fields, option):
    """A start and the way to the next checkpoint take 0.6 hours."""
    with pytest.raises(ValueError, match=rf"{option}: job 0 takes 0.60 h from a start to its next checkpoint"):
        allocation(JOBS, Request(gpus=8, **fields))


def test_no_jobs_are_no_time():
    """Where all cells are done."""
    found = allocation([], Request(gpus=2))
    assert (found.jobs, found.longest, found.submissions) == (0, 0.0, [])
    assert all(row.makespan == 0 and not math.isnan(row.utilisation or 0) for row in found.rows)
