"""What a job does on its node: runs its cell as the command line would, over several nodes under torch's launcher."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hycam_exp.runtime.command_line import as_errors

GRACE = 10.0  # seconds from SIGTERM to SIGKILL
LOOK = 0.05  # seconds between two looks at a process that is to end
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # below the ports that Linux gives away itself


@dataclass
class ClusterJob:
    """A cell's job; submitit pickles it, calls it in every task, and asks for its `checkpoint` before a requeue.

    Of the signals that SLURM sends, SIGUSR2 comes `grace` seconds and more before the time limit, or on preemption: the
    cell ends after its optimiser step, and the job is requeued. SIGTERM, of scancel or a preemption that SLURM itself
    requeues after, goes on to the cell, which ends likewise.
    """

    command: list[str]
    """The cell's command, as on the command line."""
    folder: str
    """Where it runs."""
    log: str
    """What the first node's process prints goes here."""
    devices: int
    """Of one node."""
    requeue: bool
    grace: float = GRACE
    """Seconds that the cell has to end in, its checkpoint written, before a requeue."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False, compare=False, repr=False)
    """The cell's, while it runs."""

    def __call__(self) -> None:
        """Run the cell; ends with its exit status.

        Raises:
            SystemExit: the cell has failed, or the job is requeued.
        """
        from submitit import JobEnvironment

        environment = JobEnvironment()
        first = environment.global_rank == 0
        command = self.on_node(environment.node, environment.num_nodes, list(environment.hostnames))
        with Path(self.log).open("ab") if first else nullcontext() as stream:
            # A group of its own: signals to the job's processes are this one's to handle.
            process = self.process = subprocess.Popen(
                command, cwd=self.folder, env=_without_tasks(os.environ), stdout=stream, stderr=stream, process_group=0
            )
            signal.signal(signal.SIGTERM, lambda number, frame: os.killpg(process.pid, signal.SIGTERM))
            try:
                status = process.wait()
            finally:
                _stop(process, GRACE)
                process.wait()
            if status < 0 and stream is not None:
                stream.write((as_errors(f"killed by signal {-status}") + "\n").encode())
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """What a requeued job does: the same, for the cell goes on from its own checkpoint. None: not requeued.

        The cell ends first: once the job is requeued, SLURM kills what is left of this start.
        """
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            _stop(self.process, self.grace)
        return DelayedSubmission(replace(self)) if self.requeue else None

    def on_node(self, node: int, num_nodes: int, hosts: list[str]) -> list[str]:
        """The command of one of a job's nodes; on several each starts its ranks, and all meet at the first."""
        if num_nodes == 1:
            return self.command
        python, dash, module, *overrides = self.command
        port = FIRST_PORT + int(os.environ.get("SLURM_JOB_ID", 0)) % NUM_PORTS
        meeting = [
            f"--nnodes={num_nodes}", f"--nproc-per-node={self.devices}", f"--node-rank={node}",
            f"--master-addr={hosts[0]}", f"--master-port={port}",
        ]  # fmt: skip
        return [python, "-m", "torch.distributed.run", *meeting, dash, module, *overrides]


def _without_tasks(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without SLURM's count of tasks, from which Lightning would take its number of ranks."""
    return {key: value for key, value in environment.items() if key != "SLURM_NTASKS"}


def _stop(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End whatever is left of the cell's processes; what has not ended after so many seconds is killed."""
    if _has_ended(process):
        return
    os.killpg(process.pid, signal.SIGTERM)
    latest = time.monotonic() + grace
    while not _has_ended(process):
        if time.monotonic() > latest:
            os.killpg(process.pid, signal.SIGKILL)
            return
        time.sleep(LOOK)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Asked of the kernel: where a signal's handler asks, Popen itself is in the middle of waiting."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # ended, and asked for its status
        return True
