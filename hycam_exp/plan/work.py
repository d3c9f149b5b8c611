"""A cell as a scheduler sees it: how many GPUs for how long, and what is left of its work when it is interrupted."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hycam_exp.plan.forecast import Forecast
from hycam_exp.plan.lines import Line


@dataclass(frozen=True, slots=True)
class Progress:
    """What an interrupted job does not have to do again."""

    checkpoints: int = 0
    """Of training."""
    decoded: float = 0.0
    """Hours of decoding: responses are kept as they come."""


BEGINNING = Progress()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell's needs, in hours."""

    name: str
    gpus: int = 1
    """Of each of its nodes."""
    nodes: int = 1
    train: float
    """Validation included."""
    decode: float = 0.0
    checkpoint: float = math.inf
    """Training between two checkpoints."""
    start: float = 0.0
    """From every start until work goes on: imports, loading, what is measured again."""

    @property
    def width(self) -> int:
        """GPUs of all its nodes."""
        return self.gpus * self.nodes

    @property
    def undisturbed(self) -> float:
        """From its start to its end."""
        return self.start + self.train + self.decode

    @property
    def interval(self) -> float:
        """The most training that an interruption can undo."""
        return min(self.checkpoint, self.train)

    @property
    def last_checkpoint(self) -> int:
        """The number of the last one that is taken before training ends."""
        return max(0, math.ceil(self.train / self.checkpoint - 1e-9) - 1)

    def left(self, progress: Progress) -> float:
        """Work left; only decoding that was done is not done again once training is over."""
        done = progress.checkpoints * self.interval
        return self.train - done + self.decode - progress.decoded

    def after(self, progress: Progress, worked: float) -> Progress:
        """What is kept of so much work from there on, if the job is interrupted then."""
        if worked <= 0:
            return progress
        training = self.train - progress.checkpoints * self.interval
        if worked >= training:
            return Progress(self.last_checkpoint, progress.decoded + worked - training)
        passed = progress.checkpoints + math.floor(worked / self.interval + 1e-9)
        return Progress(min(passed, self.last_checkpoint), progress.decoded)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Cells that are not simulated."""

    cells: int
    name: str
    reason: str


def jobs_of(lines: Sequence[Line], start: float, with_remedies: bool) -> tuple[list[Job], list[LeftOut]]:
    """The cells that a grid would run now, in its order, and those that it could not run or whose time is not known."""
    jobs: list[Job] = []
    left_out: list[LeftOut] = []
    for line in lines:
        cells = [cell for cell in line.cells if cell.runs]
        found = line.remedied if with_remedies and line.remedied else line.forecast
        name = f"{line.model}-{line.method}-{line.data}"
        reason = _reason(found)
        if cells and reason:
            left_out.append(LeftOut(cells=len(cells), name=name, reason=reason))
        elif cells:
            jobs += [_job(found, f"{name}-f{cell.fold}-s{cell.seed}", start) for cell in cells]
        left_out += _stopped(line, name)
    return jobs, left_out


def _stopped(line: Line, name: str) -> Iterator[LeftOut]:
    for status, why in (("failed", "failed as often as a cell may; retry=true runs it"), ("unreadable", "unreadable")):
        number = sum(cell.status == status and not cell.runs for cell in line.cells)
        if number:
            yield LeftOut(cells=number, name=name, reason=why)


def _reason(found: Forecast) -> str | None:
    """Why cells of the forecast cannot be simulated."""
    return found.obstacle or ("how long it takes is not known" if found.hours.total is None else None)


def _job(found: Forecast, name: str, start: float) -> Job:
    hours, steps = found.hours, found.steps
    assert hours.train is not None, "its time is known"
    assert steps is not None, "its time is known"
    train = hours.train + (hours.validate or 0.0)
    return Job(
        name=name,
        gpus=found.devices // found.num_nodes,
        nodes=found.num_nodes,
        train=train,
        decode=hours.generate or 0.0,
        checkpoint=train * found.checkpoint_steps / steps,
        start=start,
    )
