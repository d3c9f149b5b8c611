"""What a job does on its node: runs its cell as the command line would, over several nodes under torch's launcher."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.runtime.command_line import as_errors

GRACE = 10.0  # seconds from SIGTERM to SIGKILL
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # below the ports that Linux gives away itself


@dataclass(frozen=True)
class ClusterJob:
    """A cell's job; submitit pickles it, calls it in every task, and asks for its `checkpoint` before a requeue."""

    command: list[str]
    """The cell's command, as on the command line."""
    folder: str
    """Where it runs."""
    log: str
    """What the first node's process prints goes here."""
    devices: int
    """Of one node."""
    requeue: bool

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
            process = subprocess.Popen(
                command, cwd=self.folder, env=_without_tasks(os.environ), stdout=stream, stderr=stream, process_group=0
            )
            try:
                status = process.wait()
            finally:
                _stop(process)
            if status < 0 and stream is not None:
                stream.write((as_errors(f"killed by signal {-status}") + "\n").encode())
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """What a requeued job does: the same, for the cell goes on from its own checkpoint. None: not requeued."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self) if self.requeue else None

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


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End whatever is left of the cell's processes."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
