"""Hydra launcher for one machine: each cell of a multirun in its own process, a few at once.

    python -m hycam_exp -m method=hycam fold=0,1,2,3,4 hydra.launcher.n_jobs=2

A finished cell is skipped, one that fails is tried once more and then reported, and none stops the others. A cell that
another grid is running is waited for. The same command again goes on where this one ended, however it ended.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from rich.console import Console
from rich.live import Live

from hycam_exp.config import Run, read
from hycam_exp.runs import Store
from hycam_exp.standing import DONE, FAILED, Identifiers, Standing, standing, store_of

PLUGIN = "hydra_plugins.hycam_exp"
POLL = 0.5  # seconds between two looks at the running cells
ATTEMPTS = 2


@dataclass
class Job:
    """A cell of the grid and its process."""

    overrides: list[str]
    run: Run
    run_id: str
    attempts: int = 0
    seconds: float = 0.0
    reason: str | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    @property
    def log(self) -> Path:
        """What the cell prints."""
        return self.store.folder(self.run_id) / "output.log"

    @property
    def store(self) -> Store:
        return store_of(self.run)

    def standing(self) -> Standing:
        """Where the cell stands now."""
        return standing(self.run_id, self.store)

    def start(self, environment: dict[str, str]) -> None:
        """Run the cell in a process of its own, as the command line would."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hycam_exp", *self.overrides, "hydra.mode=RUN"]
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **environment})
        self.attempts += 1
        self.started = time.monotonic()

    def last_line(self) -> str:
        """The last whole line that the cell printed."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "starting")

    def explain(self, status: int) -> str:
        """Why the process ended with this status."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        killed = f"killed by signal {-status}" if status < 0 else None
        return killed or (errors[-1] if errors else f"exit status {status}, see {self.log}")


@dataclass
class Grid:
    """The cells that a multirun asks for, and what became of them."""

    jobs: list[Job]
    n_jobs: int
    environments: list[dict[str, str]]
    """For each of the cells at once, what its process sees besides."""
    console: Console = field(default_factory=lambda: Console(markup=False, emoji=False, highlight=False))
    done: list[Job] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)

    def run_all(self) -> None:
        """Run what is missing, and say what became of every cell."""
        waiting = deque(self.jobs)
        running: dict[int, Job] = {}
        try:
            with Live(console=self.console, transient=True, auto_refresh=False) as live:
                while waiting or running:
                    self._fill(waiting, running)
                    time.sleep(POLL)
                    self._collect(waiting, running)
                    if self.console.is_terminal:
                        live.update(self._running(running), refresh=True)
        except BaseException:
            for job in running.values():
                assert job.process is not None, "it runs"
                job.process.terminate()
            raise
        self._summary()

    def _fill(self, waiting: deque[Job], running: dict[int, Job]) -> None:
        """Start cells where there is room; one that another process holds goes to the end of the line."""
        for _ in range(len(waiting)):
            free = [slot for slot in range(self.n_jobs) if slot not in running]
            if not free:
                return
            job = waiting.popleft()
            now = job.standing()
            if now.state == DONE and not job.run.overwrite:
                (self.done if job.attempts else self.skipped).append(job)
            elif now.state == FAILED and not job.run.retry:
                job.reason = now.reason
                self.failed.append(job)
            elif job.store.is_locked(job.run_id):
                waiting.append(job)
            else:
                job.start(self.environments[free[0] % len(self.environments)])
                running[free[0]] = job

    def _collect(self, waiting: deque[Job], running: dict[int, Job]) -> None:
        """Take in the cells whose processes have ended."""
        for slot, job in list(running.items()):
            assert job.process is not None, "it runs"
            status = job.process.poll()
            if status is None:
                continue
            del running[slot]
            job.seconds += time.monotonic() - job.started
            if status == 0 and job.standing().state == DONE:
                self.done.append(job)
                self._say(job, f"done in {job.seconds:.0f} s", waiting, running)
                continue
            job.reason = job.explain(status)
            if job.store.is_locked(job.run_id):
                job.attempts -= 1  # another grid was faster, and is at it
                waiting.append(job)
            elif job.attempts < ATTEMPTS:
                waiting.append(job)
                self._say(job, f"failed and is tried again: {job.reason}", waiting, running)
            else:
                self.failed.append(job)
                self._say(job, f"failed: {job.reason}", waiting, running)

    def _say(self, job: Job, what: str, waiting: deque[Job], running: dict[int, Job]) -> None:
        ended = len(self.done) + len(self.skipped) + len(self.failed)
        left = len(waiting) + sum(1 for other in running.values() if other is not job)
        seconds = [other.seconds for other in self.done]
        eta = f", about {_minutes(sum(seconds) / len(seconds) * left / self.n_jobs)} left" if seconds and left else ""
        self.console.print(f"[{ended}/{len(self.jobs)}] {job.run_id}: {what}{eta}", soft_wrap=True)

    def _running(self, running: dict[int, Job]) -> str:
        """A line for each running cell."""
        now = time.monotonic()
        return "\n".join(f"{job.run_id}  {now - job.started:.0f} s  {job.last_line()}" for job in running.values())

    def _summary(self) -> None:
        counts = (("done", self.done), ("skipped", self.skipped), ("failed", self.failed))
        self.console.print(", ".join(f"{len(jobs)} {name}" for name, jobs in counts))
        for job in self.failed:
            self.console.print(f"failed: {job.run_id}: {job.reason}", soft_wrap=True)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class LocalLauncher(Launcher):
    """The launcher as Hydra knows it; its fields are those of conf/hydra/launcher/local.yaml."""

    def __init__(self, n_jobs: int, threads: int | None, gpus: list[int] | None) -> None:
        self.n_jobs, self.threads, self.gpus = n_jobs, threads, gpus

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the cells; ends the process with status 1 if one has failed."""
        try:
            grid = Grid(self._jobs(job_overrides), self.n_jobs, self._environments())
        except ValueError as error:
            sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
        grid.run_all()
        if grid.failed:
            sys.exit(1)
        return [JobReturn(overrides=list(o), status=JobStatus.COMPLETED) for o in job_overrides]

    def _jobs(self, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
        """The cells, each once, all checked before the first of them starts."""
        if self.n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs={self.n_jobs}: must be at least 1")
        identifiers, jobs = Identifiers(), {}
        for overrides in job_overrides:
            cfg = self.loader.load_sweep_config(self.config, list(overrides))
            run = read(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
            run_id = identifiers.of(run)
            store_of(run).check_writable()
            jobs[run_id] = Job(list(overrides), run, run_id)
        return list(jobs.values())

    def _environments(self) -> list[dict[str, str]]:
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.n_jobs)
        count = {"OMP_NUM_THREADS": str(threads)} if self.threads or self.n_jobs > 1 else {}
        return [{**count, "CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in self.gpus] if self.gpus else [count]


def register() -> None:
    """Make the launcher known to Hydra, which takes plugins from the namespace package hydra_plugins alone."""
    plugins = Plugins.instance()  # imports the package, if a plugin is installed
    package = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    package.hycam_exp = sys.modules[PLUGIN] = sys.modules[__name__]  # type: ignore[attr-defined]
    LocalLauncher.__module__ = PLUGIN
    plugins.register(LocalLauncher)
