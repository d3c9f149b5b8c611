"""Where jobs run: SLURM, by its own commands and submitit, or this machine in its place."""

import contextlib
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hycam_exp.config.methods import require
from hycam_exp.launch.slurm_task import GRACE, ClusterJob
from hycam_exp.runtime.files import write_atomically

CLUSTERS = ("slurm", "local")
SIGNAL_RESOLUTION = 60  # seconds by which SLURM may send a job's signal before it was asked to
ENDED_BY_OTHERS = ("CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED", "COMPLETED")
"""States of jobs that ended by no fault of their cell."""


@dataclass(frozen=True)
class Submission:
    """A job as a cell's folder remembers it."""

    cluster: str
    job: str
    """`4242`, or `4242_7` of an array."""
    folder: str
    """submitit's."""
    log_start: int = 0
    """Bytes of the cell's log from before this job."""
    record_before: str | None = None
    """The stamp of the record that there was before this job."""
    failures_before: int = 0
    """Of the cell."""
    process: Any = field(default=None, compare=False, repr=False)
    """On this machine, and where this process has submitted it: submitit's view of it."""

    @classmethod
    def of(cls, cell: Path) -> "Submission | None":
        """The cell's last job; None if it has had none.

        Raises:
            ValueError: the file that tells it is damaged.
        """
        path = cell / "job.json"
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            way_out = "see that no job of this cell is queued, and move the file away"
            raise ValueError(f"{path}: does not tell the cell's last job ({error}): {way_out}") from error

    def remember(self, cell: Path) -> None:
        """Keep it in the cell's folder, so that the next command knows that the cell is queued."""
        names = ("cluster", "job", "folder", "log_start", "record_before", "failures_before")
        kept = {name: getattr(self, name) for name in names}
        write_atomically(cell / "job.json", json.dumps(kept).encode())


@dataclass(frozen=True)
class Need:
    """What a job asks of its cluster."""

    nodes: int
    gpus: int
    """Of a node."""
    kind: str | None
    """Of GPU: a100; None: any."""


@dataclass(frozen=True)
class Request:
    """What every job of a multirun asks for: the fields of conf/hydra/launcher/slurm.yaml."""

    cluster: str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    cpus: int
    memory: float
    minutes: int
    signal_seconds: int
    requeue: bool
    requeues: int
    array_parallelism: int
    folder: str
    setup: list[str]
    sbatch: dict[str, Any] = field(default_factory=dict)

    @property
    def grace(self) -> float:
        """Seconds that a cell has to end in after SLURM's signal; the rest of the lead is for the requeue."""
        return max(GRACE, self.signal_seconds - 30.0)

    def submit(self, jobs: Sequence[ClusterJob], need: Need) -> list[Submission]:
        """Submit jobs that need the same, as an array where they are several.

        Raises:
            ValueError: SLURM has refused them; its reason.
        """
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        executor = AutoExecutor(
            Path(self.folder) / "%j", cluster=self.cluster, **{f"{self.cluster}_max_num_timeout": self.requeues}
        )
        executor.update_parameters(**self._shared(need), **(self._of_slurm(need) if self.cluster == "slurm" else {}))
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                found = executor.submit_array(list(jobs))
        except FailedJobError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ValueError(f"sbatch: {' '.join(lines)}") from error
        local = self.cluster == "local"
        return [
            Submission(self.cluster, job.job_id, str(executor.folder), process=job if local else None) for job in found
        ]

    def _shared(self, need: Need) -> dict[str, Any]:
        fails = ["set -e"] if self.cluster == "slurm" else []  # on this machine submitit joins the lines by &&
        setup = {f"{self.cluster}_setup": [*fails, *self.setup]} if self.setup else {}
        values = {"name": "hycam", "nodes": need.nodes, "tasks_per_node": 1, "timeout_min": self.minutes, **setup}
        plain = need.gpus and (need.kind is None or self.cluster == "local")
        return {**values, "gpus_per_node": need.gpus} if plain else values

    def _of_slurm(self, need: Need) -> dict[str, Any]:
        typed = {"gpus_per_node": f"{need.kind}:{need.gpus}"} if need.gpus and need.kind else {}
        again = {"requeue": True} if self.requeue else {"no-requeue": True}
        return {
            "cpus_per_task": self.cpus,
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
            "slurm_signal_delay_s": self.signal_seconds,
            "slurm_array_parallelism": self.array_parallelism,
            "slurm_additional_parameters": {**typed, **again, **self.sbatch},
        }

    def check(self) -> None:
        """Ask SLURM, where it can be asked, before anything is submitted.

        Raises:
            ValueError: submitit or SLURM's commands are not there, the partition is not, or none of its nodes is large
                enough, or lends itself for so long.
        """
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise ValueError("hydra/launcher=slurm: submitit is not installed: pip install submitit") from error
        if self.cluster != "slurm":
            return
        for command in ("sbatch", "srun", "squeue"):
            if shutil.which(command) is None:
                way_out = "start it on a login node, or take hydra/launcher=local"
                raise ValueError(f"hydra.launcher.cluster=slurm: there is no {command} on this machine: {way_out}")
        found = nodes()
        asked = None if self.partition is None else str(self.partition).split(",")
        for wrong in [name for name in asked or () if found and name not in {node.partition for node in found}]:
            there = ", ".join(sorted({node.partition for node in found}))
            raise ValueError(f"hydra.launcher.partition={wrong}: this cluster has {there}")
        self._check_size([node for node in found if asked is None or node.partition in asked])

    def _check_size(self, found: "list[Node]") -> None:
        """Raise a `ValueError` for a job that would wait for ever, or be told to end as soon as it starts."""
        for name, asked, unit in (
            ("cpus", self.cpus, "cores"),
            ("memory", self.memory, "GB"),
            ("minutes", self.minutes, "min"),
        ):
            most = max((getattr(node, name) for node in found), default=asked)
            require(
                asked <= most,
                f"hydra.launcher.{name}",
                asked,
                f"no node that is asked for has more than {most:g} {unit}",
            )
        lead = self.signal_seconds + SIGNAL_RESOLUTION
        way_out = (
            f"SLURM's signal comes up to {lead} s before the end: more minutes, or less hydra.launcher.signal_seconds"
        )
        require(60 * self.minutes > lead, "hydra.launcher.minutes", self.minutes, way_out)


@dataclass(frozen=True)
class Node:
    """What a node of a partition has."""

    partition: str
    cpus: int
    memory: float
    """GB."""
    minutes: float
    """That the partition lends it for at most."""


def nodes() -> list[Node]:
    """The cluster's nodes, each once for each partition that it is in; none where SLURM does not say."""
    lines = _asked("sinfo", "--Node", "--noheader", "--format=%R|%c|%m|%l") or ""
    parts = [line.split("|") for line in lines.splitlines()]
    return [
        Node(name, int(cpus), int(memory) / 1024, _minutes(limit))
        for name, cpus, memory, limit in (part for part in parts if len(part) == 4)
        if cpus.isdigit() and memory.isdigit()
    ]


def _minutes(limit: str) -> float:
    """Of SLURM's `days-hours:minutes:seconds`, whose first parts may be missing; infinite where there is no limit."""
    days, _, rest = limit.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in parts):
        return math.inf
    hours, minutes, seconds = [0, 0, *map(int, parts)][-3:]
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60


def largest_array() -> int | None:
    """The most jobs of an array; None where SLURM does not say."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _asked("scontrol", "show", "config") or "", flags=re.MULTILINE)
    return int(found[1]) if found else None


def _asked(*command: str) -> str | None:
    """What one of SLURM's commands prints; None where it is not there, fails, or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def states(submissions: Iterable[Submission]) -> dict[str, str] | None:
    """The states of those jobs that are queued or running, by job: RUNNING, PENDING (Resources); None where SLURM does
    not answer."""
    local = {s.job: "RUNNING" for s in submissions if s.cluster == "local" and _lives(s)}
    ids = sorted({s.job.split("_")[0] for s in submissions if s.cluster == "slurm"})
    if not ids:
        return local
    command = ["squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={','.join(ids)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:  # so it calls a job that has left the queue
        return None
    queued = [line.split("|") for line in done.stdout.splitlines() if line.strip()]
    return local | {job: state if reason in ("", "None") else f"{state} ({reason})" for job, state, reason in queued}


def _lives(submission: Submission) -> bool:
    """There is a process of its number that is a job of submitit's."""
    if submission.process is not None:
        return not submission.process.done()
    try:
        return any("submitit" in word for word in psutil.Process(int(submission.job)).cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def verdict(submission: Submission) -> str:
    """What SLURM says about a job that has left the queue without a word: TIMEOUT, OUT_OF_MEMORY, CANCELLED by 7."""
    command = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={submission.job}")
    said = _asked(*command) if submission.cluster == "slurm" else None
    return (said or "").split("\n")[0].strip() or "ended without a word"


def last_words(submission: Submission, lines: int = 5) -> str:
    """The last lines that a job's script and submitit have written to standard error; none are nothing."""
    from submitit.core.utils import JobPaths

    path = JobPaths(submission.folder, submission.job, 0).stderr
    text = path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
