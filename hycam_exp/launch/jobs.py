"""The cells of a multirun as jobs, whatever runs them: checked before the first starts, and what became of each."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from rich.console import Console

from hycam_exp.config import grid
from hycam_exp.config.settings import Run, require_trainable
from hycam_exp.launch.cell_status import DONE, FAILED, Inputs, Standing, standing
from hycam_exp.records.store import Store
from hycam_exp.runtime.command_line import MARK, as_errors, noting, visible
from hycam_exp.runtime.require import require
from hycam_exp.training import loggers

PLUGIN = "hydra_plugins.hycam_exp"


@dataclass
class Job:
    """A cell of the grid."""

    overrides: list[str]
    run: Run
    run_id: str
    seconds: float = 0.0
    """That it has run for this grid."""
    reason: str | None = None
    """Why it failed."""
    log_start: int = 0
    """Bytes of the log from before this attempt."""
    record_before: str | None = None
    """The stamp of the record that there was before this attempt."""
    failures_before: int = 0
    """Of the cell, before this attempt."""
    asked: list[list[str]] = field(default_factory=list)
    """Every list of overrides that describes this very cell."""

    @property
    def command(self) -> list[str]:
        """The cell as the command line runs it."""
        return [sys.executable, "-m", "hycam_exp", *self.overrides, "hydra.mode=RUN"]

    @property
    def log(self) -> Path:
        """What the cell prints."""
        return self.store.folder(self.run_id) / "output.log"

    @cached_property
    def store(self) -> Store:
        """Where its record goes; it remembers what it has seen of leases."""
        return Store.of(self.run)

    def standing(self) -> Standing:
        """Where the cell stands now; one whose record cannot be read has failed."""
        try:
            return standing(self.run_id, self.store)
        except ValueError as error:
            return Standing(self.run_id, FAILED, reason=str(error))

    def has_new_record(self) -> bool:
        """There is a whole record, and it is this attempt's: what a process says of itself at its end is not enough."""
        return self.standing().state == DONE and self.store.stamp(self.run_id) != self.record_before

    def best_validation_loss(self) -> float | None:
        """That of the cell's record; None where there is no record, as of a job that was not waited for.

        Raises:
            ValueError: the record cannot be read.
        """
        record = self.store.read(self.run_id)
        return None if record is None else record.fit.best_validation_loss

    def begin(self) -> None:
        """What is in the log from here on is this attempt's, and so is another record than the one there is."""
        self.record_before = self.store.stamp(self.run_id)
        self.failures_before = len(self.store.failures(self.run_id))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log_start = self.log.stat().st_size if self.log.is_file() else 0

    def _printed(self) -> list[str]:
        """The lines of this attempt, the last first."""
        content = self.log.read_bytes()[self.log_start :] if self.log.is_file() else b""
        return content.decode(errors="replace").splitlines()[::-1]

    def last_line(self) -> str:
        """The last line that this attempt printed."""
        return next((visible(line.strip()) for line in self._printed() if line.strip()), "starting")

    def last_error(self) -> str | None:
        """The last error line that this attempt printed."""
        return next((line.removeprefix(MARK) for line in self._printed() if line.startswith(MARK)), None)


J = TypeVar("J", bound=Job)


@dataclass
class Grid(Generic[J]):
    """The cells that a multirun asks for, and what became of them."""

    jobs: list[J]
    console: Console = field(default_factory=lambda: Console(markup=False, emoji=False, highlight=False), kw_only=True)
    done: list[J] = field(default_factory=list, kw_only=True)
    skipped: list[J] = field(default_factory=list, kw_only=True)
    failed: list[J] = field(default_factory=list, kw_only=True)

    def run_all(self) -> None:
        """Run what is missing, and say what became of every cell."""
        raise NotImplementedError

    def is_settled(self, job: J) -> bool:
        """The cell need not be run: it is finished, or has failed as often as it may; then it is counted."""
        now = job.standing()
        if now.state == DONE and not job.run.overwrite:
            self.skipped.append(job)
        elif now.state == FAILED and not job.run.retry:
            job.reason = now.reason
            self.failed.append(job)
        else:
            return False
        return True

    def say(self, job: J, what: str) -> None:
        """A line of progress."""
        ended = len(self.done) + len(self.skipped) + len(self.failed)
        self.console.print(f"[{ended}/{len(self.jobs)}] {job.run_id}: {visible(what)}", soft_wrap=True)

    def summary(self) -> None:
        """How many cells were done, skipped and failed, and why."""
        counts = (("done", self.done), ("skipped", self.skipped), ("failed", self.failed))
        self.console.print(", ".join(f"{len(jobs)} {name}" for name, jobs in counts))
        self.say_failures()

    def say_failures(self) -> None:
        """A line for each cell that has failed."""
        for job in self.failed:
            self.console.print(f"failed: {job.run_id}: {visible(str(job.reason))}", soft_wrap=True)


class GridLauncher(Launcher):
    """A launcher as Hydra knows it: makes a grid of the cells and runs it."""

    sweep_folder: Path | None = None
    """Where a sweeper writes what it found."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Needs nothing of Hydra beyond the overrides and the folder that it is to make."""
        self.sweep_folder = Path(config.hydra.sweep.dir)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the cells, and give a sweeper that searches the best validation loss of each.

        Ends the process with status 1 if a cell has failed, or something is wrong before the first.
        """
        try:
            found = self.grid(job_overrides)
            if self.sweep_folder is not None:
                self.sweep_folder.mkdir(parents=True, exist_ok=True)
            found.run_all()
            losses = {tuple(asked): job.best_validation_loss() for job in found.jobs for asked in job.asked}
        except ValueError as error:
            sys.exit(as_errors(error))
        except OSError as error:
            sys.exit(as_errors(f"{error}: what is finished is whole, and the same command goes on"))
        if found.failed:
            sys.exit(1)
        return [
            JobReturn(overrides=list(o), status=JobStatus.COMPLETED, _return_value=losses[tuple(o)])
            for o in job_overrides
        ]

    def grid(self, job_overrides: Sequence[Sequence[str]]) -> Grid[Any]:
        """The grid of these cells.

        Raises:
            ValueError: something is wrong with a cell or the launcher's settings.
        """
        raise NotImplementedError


def jobs_of(kind: type[J], job_overrides: Sequence[Sequence[str]]) -> list[J]:
    """The cells, each once, all checked before the first of them starts.

    Raises:
        ValueError: a setting is wrong, data or backbone cannot be read, a folder cannot be written, or there are
            records that cannot be read; names them all, wrong settings first and alone.
    """
    runs = grid.runs(job_overrides)
    inputs, jobs, wrong = Inputs(), dict[str, J](), list[str]()
    for store in dict.fromkeys(map(Store.of, runs)):
        with noting(wrong):
            store.check_writable()
    for overrides, run in zip(job_overrides, runs, strict=True):
        with noting(wrong):
            require_trainable(run)
        with noting(wrong):
            loggers.require_usable(run.logger)
        with noting(wrong):
            run_id = inputs.run_id(run)
            before = jobs[run_id].asked if run_id in jobs else []
            jobs[run_id] = kind(list(overrides), run, run_id, asked=[*before, list(overrides)])
            jobs[run_id].store.read(run_id)
    if wrong:
        raise ValueError("\n".join(dict.fromkeys(wrong)))
    return list(jobs.values())


def require_whole(field: str, value: object, least: int) -> None:
    """Raise a `ValueError` that names a launcher's field whose value is no whole number, or below the least."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(whole, f"hydra.launcher.{field}", value, f"must be a whole number, at least {least}")


def register(*launchers: type[Launcher]) -> None:
    """Make launchers known to Hydra, which takes plugins from the namespace package hydra_plugins alone."""
    plugins = Plugins.instance()  # imports the package, if a plugin is installed
    package = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    package.hycam_exp = sys.modules[PLUGIN] = module = ModuleType(PLUGIN)  # type: ignore[attr-defined]
    for launcher in launchers:
        launcher.__module__ = PLUGIN
        setattr(module, launcher.__name__, launcher)
        plugins.register(launcher)


def minutes(seconds: float) -> str:
    """A duration for a person."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
