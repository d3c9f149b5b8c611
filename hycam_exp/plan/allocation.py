"""Which allocation to ask for: a grid's makespan over numbers of GPUs, and the line for SLURM."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hycam_exp.plan.forecast import Forecast
from hycam_exp.plan.lines import PlanLine
from hycam_exp.plan.simulation import POLICIES, Cluster, Disturbance, JobSchedule, SimulatedJob, lower_bound, simulate

TIME_MARGIN = 1.25  # of the longest job's estimate, where no time limit is given
STOPPED = {"failed": "failed as often as a cell may; retry=true runs it", "unreadable": "unreadable"}
MOST_STARTS = 20  # that are expected for one step from a checkpoint to the next


def _option(default: Any, words: str) -> Any:
    """A field with what the command's help says of it."""
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True, kw_only=True)
class AllocationRequest:
    """The allocation that a user thinks of, and what may disturb it: the command's options."""

    gpus: int
    gpus_per_node: int = _option(8, "GPUs of a node")
    time_limit: float | None = _option(None, "hours of one start of a job; default: as long as it takes")
    preemptions_per_day: float = _option(0.0, "of one running job, on average")
    requeue_minutes: float = _option(5.0, "from an interruption until the job may start again")
    start_minutes: float = _option(5.0, "from a start until the job computes what it has not computed before")
    repetitions: int = _option(100, "of the simulation with preemption")
    seed: int = _option(0, "of the preemptions")

    def __post_init__(self) -> None:
        for name in ("gpus", "gpus_per_node", "repetitions"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        for name in ("preemptions_per_day", "requeue_minutes", "start_minutes", "seed"):
            number = getattr(self, name)
            _require(0 <= number < math.inf, name, number, "must not be negative, nor infinite")
        finite = self.time_limit is None or 0 < self.time_limit < math.inf
        _require(finite, "time_limit", self.time_limit, "must be above 0 and finite")

    @property
    def disturbance(self) -> Disturbance:
        """What may disturb the jobs, in hours."""
        limit = math.inf if self.time_limit is None else self.time_limit
        return Disturbance(rate=self.preemptions_per_day / 24, requeue=self.requeue_minutes / 60, limit=limit)

    def check(self, jobs: Sequence[SimulatedJob]) -> None:
        """Raise a `ValueError` that names a job which would hardly get from one checkpoint to the next."""
        rate, limit = self.disturbance.rate, self.disturbance.limit
        for job in jobs:
            step = job.start + job.interval
            remedy = f"{job.name} takes {step:.2f} h from a start to its next checkpoint; checkpoints more often "
            remedy += "(trainer.checkpoint_every_steps) are a way out"
            goes_on = job.undisturbed <= limit or step < limit
            _require(goes_on, "time_limit", self.time_limit, f"too short: {remedy}")
            often = rate * step <= math.log(MOST_STARTS)
            _require(often, "preemptions_per_day", self.preemptions_per_day, f"too many: {remedy}")


def _require(holds: bool, name: str, value: object, message: str) -> None:
    if not holds:
        raise ValueError(f"--{name.replace('_', '-')}={value}: {message}")


@dataclass(frozen=True, kw_only=True)
class AllocationRow:
    """What a number of GPUs would give under a policy; hours."""

    gpus: int
    nodes: int
    policy: str
    lower_bound: float | None
    """No schedule is shorter. None, like all that follows, where a job has no room on so few GPUs."""
    makespan: float | None = None
    """Hours until the last job is done, without preemption."""
    mean: float | None = None
    """The mean over repetitions with preemption, like all that follows; without, that of the only schedule."""
    low: float | None = None
    """The 5% quantile of the makespan."""
    high: float | None = None
    """The 95% quantile of the makespan."""
    gpu_hours_used: float | None = None
    gpu_hours_lost: float | None = None
    utilisation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A grid's jobs on one cluster and on others."""

    jobs: int
    gpu_hours: float
    """GPU-hours of all jobs, undisturbed."""
    longest: float
    """Hours of the longest job."""
    rows: list[AllocationRow]
    """For 1, 2, 4, ... GPUs up to twice as many as asked for, and under both policies."""
    submissions: list[str]
    """The line for SLURM for each shape of jobs."""


def allocation(jobs: Sequence[SimulatedJob], request: AllocationRequest) -> Allocation:
    """Simulate the jobs on the allocation asked for and on its neighbours.

    Raises:
        ValueError: a job would hardly ever reach its next checkpoint.
    """
    request.check(jobs)
    return Allocation(
        jobs=len(jobs),
        gpu_hours=sum(job.undisturbed * job.width for job in jobs),
        longest=max((job.undisturbed for job in jobs), default=0.0),
        rows=[row(jobs, gpus, policy, request) for gpus in numbers(request.gpus) for policy in POLICIES],
        submissions=submissions(jobs, request),
    )


def numbers(gpus: int) -> list[int]:
    """1, 2, 4, ... up to twice as many, and as many."""
    powers = {2**power for power in range((2 * gpus).bit_length())}
    return sorted({*powers, gpus, 2 * gpus})


def row(jobs: Sequence[SimulatedJob], gpus: int, policy: str, request: AllocationRequest) -> AllocationRow:
    """The schedules of one number of GPUs."""
    cluster = Cluster(gpus, request.gpus_per_node)
    nodes = len(cluster.free)
    if not cluster.holds(jobs):
        return AllocationRow(gpus=gpus, nodes=nodes, policy=policy, lower_bound=None)
    disturbance = request.disturbance
    quiet = Disturbance(requeue=disturbance.requeue, limit=disturbance.limit)
    plain = simulate(jobs, gpus, request.gpus_per_node, policy, quiet)
    found = [plain]
    if disturbance.rate:
        seeds = (f"{request.seed}/{repetition}" for repetition in range(request.repetitions))
        found = [simulate(jobs, gpus, request.gpus_per_node, policy, disturbance, random.Random(s)) for s in seeds]
    low, high = _range([schedule.makespan for schedule in found])
    return AllocationRow(
        gpus=gpus,
        nodes=nodes,
        policy=policy,
        lower_bound=lower_bound(jobs, gpus),
        makespan=plain.makespan,
        mean=_mean(found, "makespan"),
        low=low,
        high=high,
        gpu_hours_used=_mean(found, "used"),
        gpu_hours_lost=_mean(found, "lost"),
        utilisation=_mean(found, "utilisation"),
    )


def _mean(schedules: Sequence[JobSchedule], quantity: str) -> float:
    return statistics.fmean(getattr(schedule, quantity) for schedule in schedules)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The 5% and the 95% quantile, between values where they fall there."""
    if len(values) == 1:
        return values[0], values[0]
    found = statistics.quantiles(values, n=20, method="inclusive")
    return found[0], found[-1]


def submissions(jobs: Sequence[SimulatedJob], request: AllocationRequest) -> list[str]:
    """A job array for each shape of jobs: nodes and GPUs of a job, its time, and how many at once."""
    interrupted = request.time_limit is not None or request.preemptions_per_day > 0
    shapes = Counter((job.nodes, job.gpus) for job in jobs)
    found = []
    for (nodes, gpus), number in sorted(shapes.items()):
        longest = max(job.undisturbed for job in jobs if (job.nodes, job.gpus) == (nodes, gpus))
        limit = request.time_limit
        time = _clock(longest * TIME_MARGIN, 10) if limit is None else _clock(limit, 1)
        at_once = max(1, min(number, request.gpus // (nodes * gpus)))
        found.append(
            f"sbatch --array=0-{number - 1}%{at_once} --nodes={nodes} --ntasks-per-node=1 "
            f"--gpus-per-node={gpus} --time={time}{' --requeue' * interrupted}"
        )
    return found


def _clock(hours: float, step: int) -> str:
    """A time as SLURM reads it, rounded up to a multiple of so many minutes."""
    minutes = step * math.ceil(hours * 60 / step - 1e-9)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Cells that are not simulated."""

    cells: int
    name: str
    reason: str


def jobs_of(lines: Sequence[PlanLine], start: float, with_remedies: bool) -> tuple[list[SimulatedJob], list[LeftOut]]:
    """The cells that a grid would run now, in its order, and those that it could not run or whose time is not known."""
    jobs: list[SimulatedJob] = []
    left_out: list[LeftOut] = []
    for line in lines:
        cells = [cell for cell in line.cells if cell.runs]
        found = line.remedied if with_remedies and line.remedied else line.forecast
        name = f"{line.model}-{line.method}-{line.data}"
        reason = found.obstacle or ("how long it takes is not known" if found.hours.total is None else None)
        if cells and reason:
            left_out.append(LeftOut(cells=len(cells), name=name, reason=reason))
        elif cells:
            jobs += [_job(found, f"{name}-f{cell.fold}-s{cell.seed}", start) for cell in cells]
        for status, why in STOPPED.items():
            number = sum(cell.status == status and not cell.runs for cell in line.cells)
            if number:
                left_out.append(LeftOut(cells=number, name=name, reason=why))
    return jobs, left_out


def _job(found: Forecast, name: str, start: float) -> SimulatedJob:
    hours, steps = found.hours, found.steps
    assert hours.train is not None, "its time is known"
    assert steps is not None, "its time is known"
    train = hours.train + (hours.validate or 0.0)
    return SimulatedJob(
        name=name,
        gpus=found.devices // found.num_nodes,
        nodes=found.num_nodes,
        train=train,
        decode=hours.generate or 0.0,
        checkpoint=train * found.checkpoint_steps / steps,
        start=start,
    )
