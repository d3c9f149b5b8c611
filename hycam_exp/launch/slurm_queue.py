"""Where jobs run: SLURM, by its own commands and submitit, or this machine in its place."""

import contextlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hycam_exp.launch.slurm_task import ClusterJob
from hycam_exp.runtime.files import write_atomically

CLUSTERS = ("slurm", "local")


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
        kept = {"cluster": self.cluster, "job": self.job, "folder": self.folder, "log_start": self.log_start}
        write_atomically(cell / "job.json", json.dumps(kept).encode())

    @property
    def succeeded(self) -> bool:
        """The job has come to its end and said so; one that was stopped by an error leaves a result as well."""
        from submitit.core.utils import JobPaths, pickle_load

        path = JobPaths(self.folder, self.job, 0).result_pickle
        return path.is_file() and pickle_load(path)[0] == "success"


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
    requeue: bool
    requeues: int
    array_parallelism: int
    folder: str
    setup: list[str]
    sbatch: dict[str, Any] = field(default_factory=dict)

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
        setup = {f"{self.cluster}_setup": list(self.setup)} if self.setup else {}
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
            "slurm_array_parallelism": self.array_parallelism,
            "slurm_additional_parameters": {**typed, **again, **self.sbatch},
        }

    def check(self) -> None:
        """Ask SLURM, where it can be asked, before anything is submitted.

        Raises:
            ValueError: submitit or SLURM's commands are not there, or the partition is not.
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
        if self.partition is not None and shutil.which("sinfo") is not None:
            names = partitions()
            wrong = [name for name in str(self.partition).split(",") if name not in names]
            if wrong and names:
                there = ", ".join(sorted(names))
                raise ValueError(f"hydra.launcher.partition={wrong[0]}: this cluster has {there}")


def partitions() -> set[str]:
    """The cluster's partitions; none where SLURM does not say."""
    done = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True)
    return set(done.stdout.split()) if done.returncode == 0 else set()


def states(submissions: Iterable[Submission]) -> dict[str, str] | None:
    """The states of those jobs that are queued or running, by job; None where SLURM does not answer."""
    local = {s.job: "RUNNING" for s in submissions if s.cluster == "local" and _lives(s)}
    ids = sorted({s.job.split("_")[0] for s in submissions if s.cluster == "slurm"})
    if not ids:
        return local
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(ids)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:  # so it calls a job that has left the queue
        return None
    queued = dict(line.split(None, 1) for line in done.stdout.splitlines() if line.strip())
    return {**local, **queued}


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
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={submission.job}"]
    if submission.cluster != "slurm" or shutil.which("sacct") is None:
        return "ended without a word"
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.split("\n") if done.returncode == 0 else []
    return lines[0].strip() or "ended without a word" if lines else "ended without a word"
