"""Hydra launcher for SLURM: each missing cell of a multirun as a job, through submitit.

    python -m hycam_exp -m experiment=table2_main trainer=ddp hydra/launcher=slurm hydra.launcher.partition=gpu

Finished cells, cells that are queued already and cells that another process runs are not submitted; no job stops the
others; the same command again submits what is still missing. `wait` says whether it stays until all have ended.
"""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.live import Live

from hycam_exp.config.methods import require
from hycam_exp.launch.jobs import Grid, GridLauncher, Job, jobs_of, require_whole
from hycam_exp.launch.slurm_queue import (
    CLUSTERS,
    ENDED_BY_OTHERS,
    Need,
    Request,
    Submission,
    largest_array,
    last_words,
    states,
    verdict,
)  # fmt: skip
from hycam_exp.launch.slurm_task import ClusterJob
from hycam_exp.records import lease

POLL = {"slurm": 10.0, "local": 0.5}  # seconds between two looks at the queue
SETTLE = {"slurm": 30.0, "local": 0.0}  # seconds until what a job wrote elsewhere is seen here, at the latest

BEFORE = ("log_start", "record_before", "failures_before")
"""What a cell's job remembers of how things were before it."""


@dataclass
class SlurmJob(Job):
    """A cell, and its job if it has one."""

    submission: Submission | None = None
    ours: bool = False
    """This command has submitted it."""
    left: float | None = None
    """When the job was first missed in the queue, by the monotonic clock."""
    state: str | None = None
    """What SLURM last said of the job."""

    def conclude(self) -> str:
        """Why the job ended without a record; a fault that the cell itself could not put on file is put there now, with
        what the job's script last said."""
        if self.submission is None:
            return "the process that ran it has left no record; the same command again runs it"
        if told := self.last_error():
            return told
        state = verdict(self.submission)
        on_file = len(self.store.failures(self.run_id)) > self.failures_before
        if not on_file and not state.startswith(ENDED_BY_OTHERS):
            words = f"job {self.submission.job}: {state}\n{last_words(self.submission)}".strip()
            self.store.add_failure(self.run_id, RuntimeError(words))
        return f"job {self.submission.job}: {state}, see {self.log}"


@dataclass
class SlurmGrid(Grid[SlurmJob]):
    """Cells on a cluster."""

    request: Request
    nodes: int | None
    gpus_per_node: int | str | None
    wait: bool

    def run_all(self) -> None:
        """Submit what is missing; where `wait` says so stay until all cells have ended, and say what became of each."""
        needs = [self._need(job) for job in self.jobs]  # all are checked before the first is submitted
        with lease.in_turn(Path(self.request.folder) / "submitting"):  # of two commands the second finds these queued
            missing, pending = self._sort()
            portions = self._portions([pair for pair in zip(self.jobs, needs, strict=True) if pair[0] in missing])
            while portions and (self.request.cluster == "slurm" or not self.wait):
                pending += self._submit(*portions.pop(0))
        self._say_where()
        if not self.wait:
            return
        try:
            self._wait(portions, pending)
        except BaseException:  # what was submitted goes on
            self._say_where()
            raise
        self.summary()

    def _need(self, job: SlurmJob) -> Need:
        """What the job asks for.

        Raises:
            ValueError: the launcher's nodes or GPUs are not the trainer's.
        """
        trainer = job.run.trainer
        devices = trainer.devices if trainer.accelerator == "gpu" else 0
        kind, _, count = str(self.gpus_per_node).rpartition(":")
        gpus = devices if self.gpus_per_node is None else int(count) if count.isdigit() else None
        fits = gpus == devices
        uses = f"trainer={trainer.name} of {job.run_id} uses {devices} GPUs of a node"
        require(fits, "hydra.launcher.gpus_per_node", self.gpus_per_node, f"{uses}: set trainer.devices, or null")
        uses = f"must be trainer.num_nodes={trainer.num_nodes} of {job.run_id}, or null"
        require(self.nodes in (None, trainer.num_nodes), "hydra.launcher.nodes", self.nodes, uses)
        single = self.request.cluster == "slurm" or trainer.num_nodes == 1
        require(single, "hydra.launcher.cluster", "local", f"is one machine; trainer.num_nodes={trainer.num_nodes}")
        return Need(trainer.num_nodes, devices, kind or None)

    def _sort(self) -> tuple[list[SlurmJob], list[SlurmJob]]:
        """The cells to be submitted, and those that are queued or run elsewhere; the rest is counted."""
        for job in self.jobs:
            job.submission = Submission.of(job.store.folder(job.run_id))
            job.record_before = job.store.stamp(job.run_id)
        queued = states([job.submission for job in self.jobs if job.submission])
        if queued is None:
            raise ValueError("squeue does not answer: nothing was submitted, as it is not known what is queued")
        missing, elsewhere = [], []
        for job in [job for job in self.jobs if not self.is_settled(job)]:
            if job.submission is not None and job.submission.job in queued:
                self.say(job, f"already queued as job {job.submission.job}, not submitted again")
                for name in BEFORE:
                    setattr(job, name, getattr(job.submission, name))
                elsewhere.append(job)
            else:
                missing.append(job)
        running = self._run_elsewhere(missing)
        for job in running:
            job.submission = None
            self.say(job, "being run by another process, not submitted")
        return [job for job in missing if job not in running], elsewhere + running

    def _run_elsewhere(self, jobs: list[SlurmJob]) -> list[SlurmJob]:
        """Those that a living process holds; takes as long as it takes to see a beat, or none."""
        told = False
        while None in (held := [job.store.is_locked(job.run_id) for job in jobs]):
            if not told:
                count = held.count(None)
                self.console.print(f"looking for up to {lease.STALE:.0f} s whether {count} cells are run elsewhere")
                told = True
            time.sleep(lease.LOOK)
        return [job for job, locked in zip(jobs, held, strict=True) if locked]

    def _portions(self, needed: list[tuple[SlurmJob, Need]]) -> list[tuple[list[SlurmJob], Need]]:
        """Jobs to be submitted together: those with the same needs. SLURM holds an array to so many at once itself."""
        same = defaultdict(list)
        for job, need in needed:
            same[need].append(job)
        most = largest_array() if self.request.cluster == "slurm" else self.request.array_parallelism
        size = most or len(needed) or 1
        if self.request.cluster == "local" and not self.wait and len(needed) > size:
            way_out = f"starts all {len(needed)} cells at once if nobody waits: hydra.launcher.wait=true"
            raise ValueError(f"hydra.launcher.cluster=local: {way_out}")
        return [(jobs[i : i + size], need) for need, jobs in same.items() for i in range(0, len(jobs), size)]

    def _submit(self, jobs: list[SlurmJob], need: Need) -> list[SlurmJob]:
        """Submit an array of jobs; those that were. Where that fails, these have failed.

        Raises:
            ValueError: it fails, and nothing was submitted before.
        """
        for job in jobs:
            job.begin()
        devices = jobs[0].run.trainer.devices
        commands = [
            ClusterJob(
                job.command, os.getcwd(), str(job.log.absolute()), devices, self.request.requeue, self.request.grace
            )
            for job in jobs
        ]  # fmt: skip
        try:
            submissions = self.request.submit(commands, need)
        except ValueError as error:
            if not any(job.ours for job in self.jobs):
                raise
            for job in jobs:
                job.reason = str(error)
                self.failed.append(job)
            return []
        for job, submitted in zip(jobs, submissions, strict=True):
            job.submission, job.ours = replace(submitted, **{name: getattr(job, name) for name in BEFORE}), True
            job.submission.remember(job.store.folder(job.run_id))
            self.say(job, f"submitted as job {job.submission.job}, prints into {job.log}")
        return jobs

    def _wait(self, portions: list[tuple[list[SlurmJob], Need]], pending: list[SlurmJob]) -> None:
        """Take in the jobs as they end; on this machine a portion is submitted when the last one has ended."""
        cluster = self.request.cluster
        portions, pending = list(portions), list(pending)
        with Live(console=self.console, transient=True, auto_refresh=False) as live:
            while portions or pending:
                while portions and not any(job.ours for job in pending):
                    pending += self._submit(*portions.pop(0))
                time.sleep(POLL[cluster])
                queued = states([job.submission for job in pending if job.submission])
                self._say_changes(pending, queued or {})
                pending = [job for job in pending if not self._has_ended(job, queued)]
                if self.console.is_terminal:
                    live.update(_counts(pending, queued), refresh=True)

    def _say_changes(self, jobs: list[SlurmJob], queued: dict[str, str]) -> None:
        """A line for each job of which SLURM says something else than before."""
        for job in jobs:
            state = queued.get(job.submission.job) if job.submission is not None else None
            if state is not None and state != job.state:
                job.state = state
                self.say(job, f"job {job.submission.job} is {state}")  # type: ignore[union-attr]

    def _has_ended(self, job: SlurmJob, queued: dict[str, str] | None) -> bool:
        """Whether a job has ended; then it is counted. What cannot be known now is looked at again."""
        if job.submission is not None and (queued is None or job.submission.job in queued):
            job.left = None
            return False
        if job.store.is_locked(job.run_id) is not False:
            return False
        if job.has_new_record():
            (self.done if job.ours else self.skipped).append(job)
            self.say(job, "done")
            return True
        if job.left is None:
            job.left = time.monotonic()
        if time.monotonic() - job.left < SETTLE[self.request.cluster]:
            return False
        job.reason = job.conclude()
        self.failed.append(job)
        self.say(job, f"failed: {job.reason}")
        return True

    def _say_where(self) -> None:
        """How many were submitted, and how to look at them."""
        ours = [job.submission for job in self.jobs if job.submission is not None and job.ours]
        ids = sorted({submission.job.split("_")[0] for submission in ours}, key=int)
        self.console.print(f"{len(ours)} submitted, {len(self.skipped)} skipped, {len(self.failed)} failed")
        self.say_failures()
        if ids and self.request.cluster == "slurm":
            self.console.print(f"look: squeue --jobs={','.join(ids)}; end: scancel {' '.join(ids)}", soft_wrap=True)


def _counts(jobs: list[SlurmJob], queued: dict[str, str] | None) -> str:
    """A line for a person who waits."""
    if queued is None:
        return "squeue does not answer"
    found: dict[str, int] = defaultdict(int)
    for job in jobs:
        found[queued.get(job.submission.job, "ending") if job.submission else "elsewhere"] += 1
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(found.items()))


class SlurmLauncher(GridLauncher):
    """The launcher as Hydra knows it; its fields are those of conf/hydra/launcher/slurm.yaml."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def grid(self, job_overrides: Sequence[Sequence[str]]) -> SlurmGrid:
        """The cells on the cluster that the fields describe."""
        _check(self.fields)
        own = {name: self.fields[name] for name in ("nodes", "gpus_per_node", "wait")}
        rest = {name: value for name, value in self.fields.items() if name not in own}
        request = Request(**{**rest, "setup": list(rest["setup"] or []), "sbatch": dict(rest["sbatch"] or {})})
        request.check()
        return SlurmGrid(jobs_of(SlurmJob, job_overrides), request, **own)


def _check(fields: dict[str, Any]) -> None:
    """Raise a `ValueError` that names a field whose value is none of its kind."""
    require(fields["cluster"] in CLUSTERS, "hydra.launcher.cluster", fields["cluster"], "must be slurm or local")
    for name in ("cpus", "minutes", "signal_seconds", "requeues", "array_parallelism"):
        require_whole(name, fields[name], 0 if name == "requeues" else 1)
    memory = fields["memory"]
    require(isinstance(memory, int | float) and memory > 0, "hydra.launcher.memory", memory, "must be GB, above 0")
    for name in ("wait", "requeue"):
        require(isinstance(fields[name], bool), f"hydra.launcher.{name}", fields[name], "must be true or false")
