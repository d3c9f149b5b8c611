"""A discrete-event simulation of a grid's jobs on a cluster, with a time limit and preemption; see docs/plan.md.

    simulate(jobs, gpus=64, per_node=8, policy="fifo").makespan

See: Graham 1969 (list scheduling, longest processing time first); Lifka 1995 and Mu'alem and Feitelson 2001 (EASY
backfilling: a job may overtake if it does not delay the first of those that wait).
"""

import heapq
import itertools
import math
import random
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

POLICIES = {"fifo": "first come, first served", "lpt": "longest first"}
DONE, PREEMPTED, LIMIT = "done", "preempted", "time limit"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What an interrupted job does not have to do again."""

    checkpoints: int = 0
    """How many checkpoints of training were reached."""
    decoded: float = 0.0
    """Hours of decoding that were done: responses are kept as they come."""


BEGINNING = JobProgress()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """A cell's needs, in hours."""

    name: str
    gpus: int = 1
    """GPUs on each of its nodes."""
    nodes: int = 1
    train: float
    """Hours of training, validation included."""
    decode: float = 0.0
    checkpoint: float = math.inf
    """Hours of training between two checkpoints."""
    start: float = 0.0
    """Hours from every start until work goes on: imports, loading, what is measured again."""

    @property
    def width(self) -> int:
        """GPUs of all its nodes."""
        return self.gpus * self.nodes

    @property
    def undisturbed(self) -> float:
        """Hours from its start to its end if nothing disturbs it."""
        return self.start + self.train + self.decode

    @property
    def interval(self) -> float:
        """The most training that an interruption can undo."""
        return min(self.checkpoint, self.train)

    @property
    def last_checkpoint(self) -> int:
        """The number of the last one that is taken before training ends."""
        return max(0, math.ceil(self.train / self.checkpoint - 1e-9) - 1)

    def left(self, progress: JobProgress) -> float:
        """Hours of work that are left; once training is over, responses that were decoded are not decoded again."""
        done = progress.checkpoints * self.interval
        return self.train - done + self.decode - progress.decoded

    def after(self, progress: JobProgress, worked: float) -> JobProgress:
        """The progress that is kept if the job is interrupted after so many hours of work from there on."""
        if worked <= 0:
            return progress
        training = self.train - progress.checkpoints * self.interval
        if worked >= training:
            return JobProgress(self.last_checkpoint, progress.decoded + worked - training)
        passed = progress.checkpoints + math.floor(worked / self.interval + 1e-9)
        return JobProgress(min(passed, self.last_checkpoint), progress.decoded)


@dataclass
class Cluster:
    """A number of GPUs, in nodes of `per_node`; the last node has the remainder."""

    gpus: int
    per_node: int
    free: list[int] = field(init=False)
    """The free GPUs of every node."""

    def __post_init__(self) -> None:
        full, over = divmod(self.gpus, self.per_node)
        self.free = [self.per_node] * full + [over] * bool(over)

    def holds(self, jobs: Sequence[SimulatedJob]) -> bool:
        """Whether each of the jobs could start now, if it were alone."""
        shapes = {(job.gpus, job.nodes): job for job in jobs}
        return all(place(self.free, job) is not None for job in shapes.values())

    def take(self, job: SimulatedJob, nodes: Sequence[int]) -> None:
        """Put a job's GPUs into use."""
        for node in nodes:
            self.free[node] -= job.gpus

    def give_back(self, job: SimulatedJob, nodes: Sequence[int]) -> None:
        """Free a job's GPUs."""
        for node in nodes:
            self.free[node] += job.gpus


def place(free: Sequence[int], job: SimulatedJob) -> tuple[int, ...] | None:
    """The nodes for a job, those with the fewest free GPUs that are enough; None where there is no room."""
    rooms = [(room, node) for node, room in enumerate(free) if room >= job.gpus]
    if len(rooms) < job.nodes:
        return None
    if job.nodes == 1:
        return (min(rooms)[1],)
    return tuple(node for _, node in sorted(rooms)[: job.nodes])


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What ends a job before its work is done, in hours."""

    rate: float = 0.0
    """Preemptions an hour of a running job: a Poisson process."""
    requeue: float = 0.0
    """Hours from an interruption until the job may start again; after a preemption its GPUs are away as long."""
    limit: float = math.inf
    """The time limit of one start."""


UNDISTURBED = Disturbance()


class Attempt(NamedTuple):
    """One start of a job."""

    job: SimulatedJob
    nodes: tuple[int, ...]
    start: float
    end: float
    ended: str


@dataclass(frozen=True)
class JobSchedule:
    """What became of the jobs."""

    gpus: int
    attempts: list[Attempt]

    @property
    def makespan(self) -> float:
        """Hours until the last job is done."""
        return max((a.end for a in self.attempts), default=0.0)

    @property
    def used(self) -> float:
        """GPU-hours in which jobs ran."""
        return sum((a.end - a.start) * a.job.width for a in self.attempts)

    @property
    def lost(self) -> float:
        """GPU-hours among them that went into work done again and into starting again."""
        return self.used - sum(a.job.undisturbed * a.job.width for a in self.attempts if a.ended == DONE)

    @property
    def utilisation(self) -> float:
        """The share of the allocation's GPU-hours in which jobs ran."""
        return self.used / (self.gpus * self.makespan) if self.makespan else 0.0


def lower_bound(jobs: Sequence[SimulatedJob], gpus: int) -> float:
    """No schedule is shorter: all work over all GPUs, and the longest job."""
    work = sum(job.undisturbed * job.width for job in jobs)
    return max([work / gpus, *(job.undisturbed for job in jobs)])


def simulate(
    jobs: Sequence[SimulatedJob],
    gpus: int,
    per_node: int,
    policy: str,
    disturbance: Disturbance = UNDISTURBED,
    rng: random.Random | None = None,
) -> JobSchedule:
    """The schedule of the jobs; the same for the same state of `rng`, which only preemption draws from."""
    cluster = Cluster(gpus, per_node)
    assert cluster.holds(jobs), "every job has room on the empty cluster"
    run = _Simulation(jobs, cluster, policy, disturbance, rng or random.Random(0))
    return JobSchedule(gpus, run.attempts_until_done())


@dataclass
class _Reservation:
    """For the first job that has to wait: when it can start, and what is free beside it then."""

    time: float
    spare: list[int]

    def allows(self, job: SimulatedJob, nodes: Sequence[int], end: float) -> bool:
        """Whether a job would not delay it; one that runs into that time takes GPUs that are spare then."""
        if end <= self.time:
            return True
        if any(self.spare[node] < job.gpus for node in nodes):
            return False
        for node in nodes:
            self.spare[node] -= job.gpus
        return True


@dataclass
class _Simulation:
    jobs: Sequence[SimulatedJob]
    cluster: Cluster
    policy: str
    disturbance: Disturbance
    rng: random.Random
    now: float = 0.0
    progress: list[JobProgress] = field(init=False)
    ready: list[tuple[float, int]] = field(default_factory=list)
    """The jobs that may start, as (order by the policy, number of the job)."""
    events: list[tuple[float, int, int | None, int | None]] = field(default_factory=list)
    """What comes, as (hours, a number that breaks ties, the attempt that frees its GPUs, the job that is ready)."""
    planned: list[float] = field(init=False)
    """Hours of every job's next attempt, if it is not preempted."""
    expected: dict[int, float] = field(default_factory=dict)
    """For every attempt that holds GPUs, when it frees them if nothing disturbs it."""
    attempts: list[Attempt] = field(default_factory=list)
    counted: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.progress, self.planned = [BEGINNING] * len(self.jobs), [0.0] * len(self.jobs)
        for number in range(len(self.jobs)):
            self._enqueue(number)

    def attempts_until_done(self) -> list[Attempt]:
        """Start what there is room for, go on to the next event, until there is none."""
        self._start_ready()
        while self.events:
            self.now = self.events[0][0]
            while self.events and self.events[0][0] == self.now:
                _, _, freed, number = heapq.heappop(self.events)
                if freed is not None:
                    del self.expected[freed]
                    self.cluster.give_back(self.attempts[freed].job, self.attempts[freed].nodes)
                if number is not None:
                    self._enqueue(number)
            self._start_ready()
        assert not self.ready, "every job has had its turn"
        return self.attempts

    def _enqueue(self, number: int) -> None:
        job, left = self.jobs[number], self.jobs[number].left(self.progress[number])
        self.planned[number] = min(job.start + left, self.disturbance.limit)
        insort(self.ready, (-left if self.policy == "lpt" else 0.0, number))

    def _start_ready(self) -> None:
        """In the policy's order; behind the first job without room, those that do not delay it."""
        reservation: _Reservation | None = None
        refused: dict[tuple[int, int], float] = {}  # of a shape of jobs, the shortest that could not start
        started = []
        room = sum(self.cluster.free)
        for entry in self.ready if room else ():
            number = entry[1]
            job, planned = self.jobs[number], self.planned[number]
            shape = (job.gpus, job.nodes)
            if planned >= refused.get(shape, math.inf):
                continue
            nodes = place(self.cluster.free, job)
            if nodes is None:
                refused[shape] = 0.0
                reservation = reservation or self._reserve(job)
            elif reservation is None or reservation.allows(job, nodes, self.now + planned):
                self._start(number, nodes)
                started.append(entry)
                room -= job.width
                if not room:
                    break
            else:
                refused[shape] = planned
        for entry in started:
            self.ready.remove(entry)

    def _reserve(self, job: SimulatedJob) -> _Reservation:
        """The first moment at which the job has room, if the running attempts end as expected."""
        free = list(self.cluster.free)
        for end, number in sorted((end, number) for number, end in self.expected.items()):
            attempt = self.attempts[number]
            for node in attempt.nodes:
                free[node] += attempt.job.gpus
            nodes = place(free, job)
            if nodes is not None:
                return _Reservation(end, [room - job.gpus * (node in nodes) for node, room in enumerate(free)])
        raise AssertionError("the empty cluster has room for every job")

    def _start(self, number: int, nodes: tuple[int, ...]) -> None:
        job, disturbance, index = self.jobs[number], self.disturbance, len(self.attempts)
        whole = job.start + job.left(self.progress[number])
        planned = self.planned[number]
        until = self.rng.expovariate(disturbance.rate) if disturbance.rate else math.inf
        length = min(planned, until)
        end, away, ended, again = self.now + length, self.now + length, DONE, None
        if length < whole:
            ended, again = (PREEMPTED if until < planned else LIMIT), number
            self.progress[number] = job.after(self.progress[number], length - job.start)
            ready = end + disturbance.requeue
            away = ready if ended == PREEMPTED else end
            if ready > away:
                self._event(ready, None, number)
                again = None
        self.attempts.append(Attempt(job, nodes, self.now, end, ended))
        self.expected[index] = self.now + planned
        self.cluster.take(job, nodes)
        self._event(away, index, again)

    def _event(self, time: float, freed: int | None, ready: int | None) -> None:
        heapq.heappush(self.events, (time, next(self.counted), freed, ready))
