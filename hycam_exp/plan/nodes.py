"""GPUs in nodes: which are free, and where a job goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hycam_exp.plan.work import Job


@dataclass
class Cluster:
    """So many GPUs, in nodes of `per_node`; the last node has what is over."""

    gpus: int
    per_node: int
    free: list[int] = field(init=False)
    """Of every node."""

    def __post_init__(self) -> None:
        full, over = divmod(self.gpus, self.per_node)
        self.free = [self.per_node] * full + [over] * bool(over)

    def holds(self, jobs: Sequence[Job]) -> bool:
        """Each of them could start now, alone."""
        shapes = {(job.gpus, job.nodes): job for job in jobs}
        return all(place(self.free, job) is not None for job in shapes.values())

    def take(self, job: Job, nodes: Sequence[int]) -> None:
        """Its GPUs are in use from now on."""
        for node in nodes:
            self.free[node] -= job.gpus

    def give_back(self, job: Job, nodes: Sequence[int]) -> None:
        """They are free again."""
        for node in nodes:
            self.free[node] += job.gpus


def place(free: Sequence[int], job: Job) -> tuple[int, ...] | None:
    """The nodes for a job, those with the fewest free GPUs that are enough; None where there is no room."""
    rooms = [(room, node) for node, room in enumerate(free) if room >= job.gpus]
    if len(rooms) < job.nodes:
        return None
    if job.nodes == 1:
        return (min(rooms)[1],)
    return tuple(node for _, node in sorted(rooms)[: job.nodes])
