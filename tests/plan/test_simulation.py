"""Schedules: closed forms, bounds, no GPU twice, the expectation under interruptions; jobs, and where they go."""

import itertools
import json
import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hycam_exp.plan.simulation import (
    BEGINNING,
    DONE,
    POLICIES,
    PREEMPTED,
    Cluster,
    Disturbance,
    JobProgress,
    JobSchedule,
    SimulatedJob,
    lower_bound,
    place,
    simulate,
)

RECORDS = Path(__file__).parents[2] / "results" / "studies" / "mini" / "records"
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12)
JOBS = st.lists(
    st.builds(
        SimulatedJob,
        name=st.just("job"),
        gpus=st.integers(1, 4),
        nodes=st.integers(1, 2),
        train=st.integers(1, 12).map(float),
        decode=st.sampled_from([0.0, 0.5]),
        checkpoint=st.sampled_from([0.5, 2.0, math.inf]),
        start=st.sampled_from([0.0, 0.25]),
    ),
    max_size=12,
)
DISTURBANCES = st.builds(
    Disturbance, rate=st.sampled_from([0.0, 0.1]), requeue=st.sampled_from([0.0, 0.5]), limit=st.just(math.inf)
)
POLICY = st.sampled_from(list(POLICIES))


def jobs_of(lengths: Sequence[float], **fields: float) -> list[SimulatedJob]:
    return [SimulatedJob(name=str(number), train=length, **fields) for number, length in enumerate(lengths)]  # type: ignore[arg-type]


@given(st.integers(0, 40), st.integers(1, 12), POLICY)
def test_identical_cells_take_turns(number, gpus, policy):
    """ceil(n / N) t."""
    assert simulate(jobs_of([3.0] * number), gpus, 8, policy).makespan == math.ceil(number / gpus) * 3


@given(LENGTHS, POLICY)
def test_one_gpu_takes_the_sum(lengths, policy):
    """In any order, one start each."""
    assert simulate(jobs_of(lengths, start=0.5), 1, 8, policy).makespan == sum(lengths) + 0.5 * len(lengths)


def optimum(lengths: Sequence[int], gpus: int) -> int:
    """By trying every assignment."""
    return min(
        max(sum(length for length, at in zip(lengths, where, strict=True) if at == gpu) for gpu in range(gpus))
        for where in itertools.product(range(gpus), repeat=len(lengths))
    )


@settings(max_examples=40)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(1, 3))
def test_grahams_bounds(lengths, gpus):
    """Longest first is within 4/3 - 1/(3 m) of the optimum, any order within 2 - 1/m, and neither is below it."""
    best = optimum(lengths, gpus)
    found = {policy: simulate(jobs_of(lengths), gpus, 8, policy).makespan for policy in POLICIES}
    assert best <= found["lpt"] <= (4 / 3 - 1 / (3 * gpus)) * best + 1e-9
    assert best <= found["fifo"] <= (2 - 1 / gpus) * best + 1e-9
    assert lower_bound(jobs_of(lengths), gpus) <= best


def list_schedule(lengths: Sequence[int], gpus: int) -> float:
    """Each cell in turn on the GPU that is free first."""
    free = [0] * gpus
    for length in lengths:
        free[free.index(min(free))] += length
    return max(free)


@given(LENGTHS, st.integers(1, 10))
def test_cells_of_one_gpu_are_list_scheduled(lengths, gpus):
    """In their order, and sorted, longest first."""
    assert simulate(jobs_of(lengths), gpus, 4, "fifo").makespan == list_schedule(lengths, gpus)
    assert simulate(jobs_of(lengths), gpus, 4, "lpt").makespan == list_schedule(sorted(lengths, reverse=True), gpus)


def in_use(schedule: JobSchedule, node: int, time: float, requeue: float) -> int:
    """GPUs of a node that are taken, or away after a preemption, just after a moment."""
    away = {PREEMPTED: requeue}
    until = ((a, a.end + away.get(a.ended, 0.0)) for a in schedule.attempts)
    return sum(a.job.gpus for a, end in until if node in a.nodes and a.start <= time < end)


@given(JOBS, st.integers(8, 20), POLICY, DISTURBANCES, st.integers(0, 3))
def test_no_gpu_is_taken_twice_and_every_cell_is_done_once(jobs, gpus, policy, disturbance, seed):
    """At every start, on every node of 4; a job starts again after its requeue, and is done at its last start."""
    schedule = simulate(jobs, gpus, 4, policy, disturbance, random.Random(seed))
    rooms = [4] * (gpus // 4) + [gpus % 4]
    for attempt in schedule.attempts:
        assert len(set(attempt.nodes)) == attempt.job.nodes
        assert all(in_use(schedule, node, attempt.start, disturbance.requeue) <= rooms[node] for node in attempt.nodes)
    assert sum(a.ended == DONE for a in schedule.attempts) == len(jobs)
    assert schedule.makespan >= lower_bound(jobs, gpus) - 1e-9
    assert schedule.lost >= -1e-6
    assert 0 <= schedule.utilisation <= 1 + 1e-9


@given(JOBS, st.integers(8, 20), POLICY)
def test_without_preemption_the_disturbed_schedule_is_the_undisturbed(jobs, gpus, policy):
    """Attempt for attempt; and the lower bound falls with the number of GPUs."""
    plain = simulate(jobs, gpus, 4, policy)
    assert simulate(jobs, gpus, 4, policy, Disturbance(rate=0.0, requeue=3.0), random.Random(1)) == plain
    assert plain.lost == pytest.approx(0, abs=1e-6)
    assert lower_bound(jobs, gpus + 1) <= lower_bound(jobs, gpus)


def test_a_seed_is_a_schedule():
    """The same twice, another with another seed."""
    disturbance, jobs = Disturbance(rate=0.3, requeue=0.1), jobs_of(range(1, 20), checkpoint=0.5)
    found = [simulate(jobs, 4, 4, "fifo", disturbance, random.Random(seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_a_short_job_overtakes_if_it_delays_nobody():
    """Behind B, which needs both GPUs at 4, C ends at 3 and may start; D would end after 4, and may not."""
    lengths = {"A": (1, 4), "B": (2, 1), "C": (1, 3), "D": (1, 5)}
    jobs = [SimulatedJob(name=name, gpus=gpus, train=length) for name, (gpus, length) in lengths.items()]
    schedule = simulate(jobs, 2, 8, "fifo")
    assert {a.job.name: a.start for a in schedule.attempts} == {"A": 0, "C": 0, "B": 4, "D": 5}


def test_a_long_job_overtakes_on_what_is_left_over():
    """Of three GPUs B will need two: the third is D's, however long it takes."""
    lengths = {"A": (2, 4), "B": (2, 1), "D": (1, 9)}
    jobs = [SimulatedJob(name=name, gpus=gpus, train=length) for name, (gpus, length) in lengths.items()]
    assert {a.job.name: a.start for a in simulate(jobs, 3, 8, "fifo").attempts} == {"A": 0, "D": 0, "B": 4}


def test_what_is_left_over_is_given_away_once():
    """Of five GPUs B will need four: D takes the fifth, and E, which is as long, waits for B."""
    lengths = {"A": (3, 4), "B": (4, 1), "D": (1, 9), "E": (1, 9)}
    jobs = [SimulatedJob(name=name, gpus=gpus, train=length) for name, (gpus, length) in lengths.items()]
    assert {a.job.name: a.start for a in simulate(jobs, 5, 8, "fifo").attempts} == {"A": 0, "D": 0, "B": 4, "E": 5}


class Once(random.Random):
    """One preemption after an hour, and never again."""

    def __init__(self) -> None:
        super().__init__(0)
        self.next = iter([1.0])

    def expovariate(self, lambd: float = 1.0) -> float:
        return next(self.next, math.inf)


def test_a_preempted_jobs_gpu_is_away():
    """Until the job may start again: no other has it meanwhile, and the job is again before the others."""
    jobs = [SimulatedJob(name="A", train=3, checkpoint=0.75), SimulatedJob(name="B", train=1)]
    schedule = simulate(jobs, 1, 8, "fifo", Disturbance(rate=1, requeue=0.5), Once())
    assert [(a.job.name, a.start, a.end) for a in schedule.attempts] == [
        ("A", 0, 1),
        ("A", 1.5, 3.75),
        ("B", 3.75, 4.75),
    ]
    assert schedule.lost == 0.25


def test_a_time_limit_costs_what_lies_behind_the_last_checkpoint():
    """Two hours a start, half of one lost to starting: one checkpoint each time, four times, and an hour at last."""
    job = SimulatedJob(name="", train=5, checkpoint=1, start=0.5)
    schedule = simulate([job], 1, 8, "fifo", Disturbance(limit=2, requeue=0.25))
    assert [a.end - a.start for a in schedule.attempts] == [2, 2, 2, 2, 1.5]
    assert schedule.makespan == 4 * 2.25 + 1.5
    assert schedule.lost == 9.5 - 5.5


def test_at_a_time_limit_the_gpu_goes_to_the_next():
    """While the first job waits for its requeue the second runs."""
    jobs = [SimulatedJob(name="A", train=3, checkpoint=1), SimulatedJob(name="B", train=1)]
    schedule = simulate(jobs, 1, 8, "fifo", Disturbance(limit=2, requeue=1))
    assert [(a.job.name, a.start, a.end) for a in schedule.attempts] == [("A", 0, 2), ("B", 2, 3), ("A", 3, 4)]


def test_preemption_takes_as_long_as_exponential_interruptions_do():
    """Four stretches between checkpoints; from a start R + s takes (1 / rate + Q) (exp(rate (R + s)) - 1) on average,
    and a stretch that follows another s, or up to its interruption and then all that."""
    rate, requeue, start, stretch, number = 0.2, 0.5, 0.3, 1.5, 4
    restarted = (1 / rate + requeue) * math.expm1(rate * (start + stretch))
    broken = -math.expm1(-rate * stretch)
    expected = restarted + (number - 1) * broken * (1 / rate + requeue + restarted)
    job = SimulatedJob(name="", train=number * stretch, checkpoint=stretch, start=start)
    disturbance = Disturbance(rate=rate, requeue=requeue)
    found = [simulate([job], 1, 1, "fifo", disturbance, random.Random(seed)).makespan for seed in range(4000)]
    error = statistics.stdev(found) / math.sqrt(len(found))
    assert abs(statistics.fmean(found) - expected) < 4 * error
    assert error < 0.02 * expected


@pytest.mark.skipif(not RECORDS.is_dir(), reason="the records are those of a checkout")
def test_the_committed_cells_on_two_slots():
    """By the seconds in their records: not below half of the sum, and above it by at most half of the longest."""
    costs = [json.loads(path.read_text())["cost"]["seconds"] for path in sorted(RECORDS.glob("*.json"))]
    seconds = [sum(phases.values()) for phases in costs]
    assert len(seconds) >= 45
    for policy in POLICIES:
        makespan = simulate(jobs_of(seconds), 2, 2, policy).makespan
        assert sum(seconds) / 2 <= makespan <= sum(seconds) / 2 + max(seconds) / 2 + 1e-6


def job(gpus: int, nodes: int = 1) -> SimulatedJob:
    return SimulatedJob(name="", gpus=gpus, nodes=nodes, train=1)


def test_the_last_node_has_what_is_over():
    """Twenty GPUs in nodes of eight; three are one small node."""
    assert Cluster(20, 8).free == [8, 8, 4]
    assert Cluster(3, 8).free == [3]


def test_the_fullest_node_with_room_is_taken():
    """Of 8, 2 and 3 free: the node with 2 for one of 2, and both of the fullest that are enough for two times 3."""
    assert place([8, 2, 3], job(2)) == (1,)
    assert place([8, 2, 3], job(3, nodes=2)) == (2, 0)
    assert place([8, 2, 3], job(4, nodes=2)) is None


def test_gpus_come_back():
    """What was taken on two nodes is free again."""
    cluster = Cluster(16, 8)
    cluster.take(job(5, nodes=2), (0, 1))
    assert cluster.free == [3, 3]
    assert not cluster.holds([job(1), job(4)])
    cluster.give_back(job(5, nodes=2), (0, 1))
    assert cluster.free == [8, 8]
    assert cluster.holds([job(1), job(4)])


TEN = SimulatedJob(name="ten", train=10, decode=2, checkpoint=3, start=0.5)


@pytest.mark.parametrize(
    ("worked", "left"),
    [(-0.2, 12), (2.9, 12), (3, 9), (8.9, 6), (9.5, 3), (10, 3), (11.5, 1.5)],
)
def test_work_since_the_last_checkpoint_is_lost(worked, left):
    """Checkpoints at 3, 6 and 9 hours of 10; what was decoded after training stays, and the last hour is done again."""
    assert TEN.left(TEN.after(BEGINNING, worked)) == pytest.approx(left)


def test_an_interrupted_end_of_training_is_done_again_before_decoding_goes_on():
    """From the checkpoint at 9 hours with 1.5 decoded: the tenth hour, and the rest of two."""
    then = JobProgress(3, 1.5)
    assert TEN.left(then) == 1.5
    assert TEN.after(then, 0.9) == then
    assert TEN.after(then, 1.2) == JobProgress(3, pytest.approx(1.7))


@given(
    st.floats(0.1, 20), st.floats(0, 5), st.floats(0.05, 30), st.lists(st.floats(0, 1, exclude_max=True), max_size=5)
)
def test_an_interruption_undoes_at_most_one_interval(train, decode, checkpoint, shares):
    """However often a job is interrupted, and wherever: nothing is gained, and nothing older is lost."""
    job, progress = SimulatedJob(name="", train=train, decode=decode, checkpoint=checkpoint), BEGINNING
    for share in shares:
        before = job.left(progress)
        worked = share * before
        progress = job.after(progress, worked)
        lost = worked - (before - job.left(progress))
        assert -1e-6 <= lost <= job.interval + 1e-6
