"""The processes of one node's ranks: the command runs itself once for each device, under torch's elastic agent."""

import logging
import os
import sys
from collections.abc import Sequence

from hycam_exp.config.settings import TrainerSettings
from hycam_exp.runtime import ranks
from hycam_exp.runtime.interruption import SIGNALLED, Interrupted


def are_needed(trainer: TrainerSettings) -> bool:
    """Whether a cell is for ranks, and this process is none of them."""
    return trainer.strategy != "single" and not ranks.is_started()


def run(trainer: TrainerSettings, overrides: Sequence[str]) -> int:
    """Run the command on every device of this node, and return its exit status; the ranks say themselves what failed.

    Raises:
        ValueError: there are several nodes, on each of which torchrun must be called.
        Interrupted: this process was told to end, and has ended the ranks.
    """
    if trainer.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={trainer.num_nodes}: call on every node `torchrun --nnodes {trainer.num_nodes} "
            f"--nproc-per-node {trainer.devices} --rdzv-backend c10d --rdzv-endpoint HOST:PORT -m hycam_exp` with the "
            "same overrides (docs/scaling.md)"
        )
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # the agent's reports on its children; this process does nothing else
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // trainer.devices)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "10")  # seconds for the other ranks when one has failed
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=trainer.devices,
        run_id=f"hycam_exp-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", "hycam_exp", *overrides)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if status > 0 else SIGNALLED - status
    except SignalException as error:
        raise Interrupted(error.sigval) from None
    return 0
