"""Hydra launcher for one machine: each cell of a multirun in its own process, a few at once.

    python -m hycam_exp -m method=hycam fold=0,1,2,3,4 hydra.launcher.n_jobs=2

A finished cell is skipped, one that fails is tried once more and then reported, and none stops the others. A cell that
another grid is running is waited for. The same command again goes on where this one ended, however it ended.
"""

import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rich.live import Live

from hycam_exp.launch.cell_status import FAILED
from hycam_exp.launch.jobs import Grid, GridLauncher, Job, jobs_of, minutes, require_whole
from hycam_exp.records.store import MAX_FAILURES
from hycam_exp.runtime.cost import usable_cores
from hycam_exp.runtime.require import require

POLL = 0.5  # seconds between two looks at the running cells
GRACE = 30.0  # seconds that cells have to end in, their checkpoints written, when the grid is interrupted


@dataclass
class LocalJob(Job):
    """A cell and its process."""

    attempts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self, environment: dict[str, str]) -> None:
        """Run the cell in a process of its own, as the command line would."""
        self.begin()
        with self.log.open("ab") as stream:
            environment = {**os.environ, **environment}
            self.process = subprocess.Popen(self.command, stdout=stream, stderr=stream, env=environment)
        self.attempts += 1
        self.started = time.monotonic()

    def explain(self, status: int) -> str:
        """Why the process ended with this status."""
        killed = f"killed by signal {-status}" if status < 0 else None
        silent = f"exit status {status}, see {self.log}" if status else f"it ended without a record, see {self.log}"
        return killed or self.last_error() or silent


@dataclass
class LocalGrid(Grid[LocalJob]):
    """Cells on this machine."""

    n_jobs: int
    environments: list[dict[str, str]]
    """For each of the cells at once, what its process sees besides."""

    def run_all(self) -> None:
        """Run what is missing, `n_jobs` at once, and say what became of every cell."""
        waiting = deque(self.jobs)
        running: dict[int, LocalJob] = {}
        try:
            with Live(console=self.console, transient=True, auto_refresh=False) as live:
                while waiting or running:
                    self._fill(waiting, running)
                    time.sleep(POLL)
                    self._collect(waiting, running)
                    if self.console.is_terminal:
                        live.update(self._running(running), refresh=True)
        except BaseException:
            _end([job.process for job in running.values() if job.process is not None])
            raise
        self.summary()

    def _fill(self, waiting: deque[LocalJob], running: dict[int, LocalJob]) -> None:
        """Start cells where there is room; one that another process holds goes to the end of the line."""
        for _ in range(len(waiting)):
            free = [slot for slot in range(self.n_jobs) if slot not in running]
            if not free:
                return
            job = waiting.popleft()
            if job.attempts and job.has_new_record():
                self.done.append(job)
            elif self.is_settled(job):
                continue
            elif job.store.is_locked(job.run_id) is not False:
                waiting.append(job)
            else:
                job.start(self.environments[free[0] % len(self.environments)])
                running[free[0]] = job

    def _collect(self, waiting: deque[LocalJob], running: dict[int, LocalJob]) -> None:
        """Take in the cells whose processes have ended."""
        for slot, job in list(running.items()):
            assert job.process is not None, "it runs"
            status = job.process.poll()
            if status is None:
                continue
            del running[slot]
            job.seconds += time.monotonic() - job.started
            left = len(waiting) + len(running)
            now = job.standing()
            given_up = now.state == FAILED and not job.run.retry
            if job.has_new_record():
                self.done.append(job)
                self.say(job, f"done in {job.seconds:.0f} s{self._eta(left)}")
                continue
            job.reason = now.reason if given_up else job.explain(status)
            if job.store.is_locked(job.run_id) is not False:
                job.attempts -= 1  # another grid was faster, and is at it
                waiting.append(job)
            elif not given_up and job.attempts < MAX_FAILURES:  # one that is killed leaves no failure to count
                waiting.append(job)
                self.say(job, f"failed and is tried again: {job.reason}{self._eta(left + 1)}")
            else:
                self.failed.append(job)
                self.say(job, f"failed: {job.reason}{self._eta(left)}")

    def _eta(self, left: int) -> str:
        """How long so many cells will take, if they are like those that are done."""
        seconds = [job.seconds for job in self.done]
        return f", about {minutes(sum(seconds) / len(seconds) * left / self.n_jobs)} left" if seconds and left else ""

    def _running(self, running: dict[int, LocalJob]) -> str:
        """A line for each running cell."""
        now = time.monotonic()
        return "\n".join(f"{job.run_id}  {now - job.started:.0f} s  {job.last_line()}" for job in running.values())


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """End the cells' processes, and wait until they have."""
    for process in processes:
        process.terminate()
    latest = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, latest - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class LocalLauncher(GridLauncher):
    """The launcher as Hydra knows it; its fields are those of conf/hydra/launcher/local.yaml."""

    def __init__(self, n_jobs: int, threads: int | None, gpus: list[int | str] | None) -> None:
        self.n_jobs, self.threads, self.gpus = n_jobs, threads, gpus

    def grid(self, job_overrides: Sequence[Sequence[str]]) -> LocalGrid:
        """The cells on this machine."""
        self._check()
        jobs = jobs_of(LocalJob, job_overrides)
        for job in jobs:
            nodes = job.run.trainer.num_nodes
            way_out = f"hydra/launcher=local is one machine, which {job.run_id} does not fit: hydra/launcher=slurm"
            require(nodes == 1, "trainer.num_nodes", nodes, way_out)
        return LocalGrid(jobs, self.n_jobs, self._environments())

    def _check(self) -> None:
        """Raise a `ValueError` that names a field whose value is none of its kind."""
        require_whole("n_jobs", self.n_jobs, 1)
        if self.threads is not None:
            require_whole("threads", self.threads, 1)
        if self.gpus is not None:
            listed = isinstance(self.gpus, Sequence) and not isinstance(self.gpus, str) and len(self.gpus) > 0
            ids = listed and all(_is_id(gpu) for gpu in self.gpus)
            require(ids, "hydra.launcher.gpus", self.gpus, "must be a list of ids, as [0,1] or [GPU-...], or null")

    def _environments(self) -> list[dict[str, str]]:
        threads = self.threads or max(1, usable_cores() // self.n_jobs)
        count = {"OMP_NUM_THREADS": str(threads)} if self.threads or self.n_jobs > 1 else {}
        return [{**count, "CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in self.gpus] if self.gpus else [count]


def _is_id(gpu: object) -> bool:
    """A number, or the id of a GPU or of a part of one, as CUDA_VISIBLE_DEVICES takes them."""
    if isinstance(gpu, str):
        return re.fullmatch(r"(GPU|MIG)-[\w/-]+", gpu) is not None
    return type(gpu) is int and gpu >= 0
