"""The ranks of a cell that several devices share: their processes, who this one is, and what they tell each other.

torch's agent starts a process for each device (by `start`, or torchrun by hand) and says in the environment which it
is. With one device every function here is the identity, and torch is not imported for it.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hycam_exp.runtime.command_line import as_errors
from hycam_exp.runtime.cost import usable_cores
from hycam_exp.runtime.interruption import SIGNALLED, Interrupted

if TYPE_CHECKING:
    from hycam_exp.config.settings import TrainerSettings

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=2)  # of a rank for another; one that died is noticed by its agent
FAREWELL = timedelta(seconds=20)  # for the rank that failed first to say why
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass
class RankGroup:
    """This process's place among the ranks."""

    rank: int
    world_size: int
    store: Any
    """Small values that all ranks see at once, without a collective."""
    speaks: bool | None = None
    """Whether this rank was the first to fail; None: not asked yet."""


_group: RankGroup | None = None


def rank() -> int:
    """This process's number; 0 where there is one alone."""
    return _group.rank if _group else 0


def world_size() -> int:
    """The number of ranks."""
    return _group.world_size if _group else 1


def is_first() -> bool:
    """Whether this rank writes what is written once."""
    return rank() == 0


def is_started() -> bool:
    """Whether this process was started as a rank."""
    return "RANK" in os.environ


def are_needed(trainer: TrainerSettings) -> bool:
    """Whether a cell is for ranks, and this process is none of them."""
    return trainer.strategy != "single" and not is_started()


def start(trainer: TrainerSettings, overrides: Sequence[str]) -> int:
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
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // trainer.devices)))
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


def check_joined(trainer: TrainerSettings) -> None:
    """Raise a `ValueError` where a cell for ranks is run by a process that is none."""
    if trainer.strategy != "single" and _group is None:
        raise ValueError(
            f"trainer.strategy={trainer.strategy}: needs a process for each device; the command `python -m hycam_exp` "
            "starts them"
        )


@contextmanager
def joined(trainer: TrainerSettings) -> Iterator[None]:
    """Be a rank inside, if this process is one; an error then ends all ranks, and is said once."""
    if trainer.strategy == "single":
        yield
        return
    try:
        _join(trainer)
        yield
    except BaseException as error:
        _fail(error)
    _leave()


def _join(trainer: TrainerSettings) -> None:
    """Make the process group, on the backends of the trainer's devices.

    Raises:
        ValueError: there are not as many ranks as the trainer has devices.
    """
    global _group
    import torch

    _end_with_parent()
    store, own, size = next(iter(torch.distributed.rendezvous("env://", timeout=LONGEST_WAIT)))
    _group = RankGroup(own, size, torch.distributed.PrefixStore("hycam_exp", store))
    if own:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    if size != trainer.world_size:
        raise ValueError(
            f"trainer.devices={trainer.devices} on trainer.num_nodes={trainer.num_nodes} are {trainer.world_size} "
            f"ranks, but {size} were started"
        )
    backend = "gloo"
    if trainer.accelerator == "gpu":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ValueError(f"trainer.devices={trainer.devices}: torch finds {torch.cuda.device_count()} GPUs here")
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    group_store = torch.distributed.PrefixStore("group", store)
    torch.distributed.init_process_group(backend, store=group_store, rank=own, world_size=size, timeout=LONGEST_WAIT)


def _end_with_parent() -> None:
    """On Linux, be killed when the agent is: or a rank would live on and hold the cell."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def speaks() -> bool:
    """Whether a failure is this rank's to report: the first that failed; the others fall with it."""
    if _group is None:
        return True
    if _group.speaks is None:
        _group.speaks = _group.store.add("failures", 1) == 1
    return _group.speaks


def _fail(error: BaseException) -> None:
    """End this process, and through the agent all others; the first that failed says why."""
    if _group is None or speaks():
        print(_said(error), end="", file=sys.__stderr__, flush=True)
        if _group is not None:
            _group.store.set("said", b"1")
    else:
        try:
            _group.store.wait(["said"], FAREWELL)
        except RuntimeError:  # it was killed before it could speak
            print(f"rank {_group.rank} fell with another", file=sys.__stderr__, flush=True)
    sys.stdout.flush()
    # An ordinary exit would wait for ranks that wait for this one.
    os._exit(error.status if isinstance(error, Interrupted) else 1)


def _said(error: BaseException) -> str:
    """What a user can mend in a line, nothing about a signal, a traceback of the rest."""
    if isinstance(error, KeyboardInterrupt | SystemExit | Interrupted):
        return ""
    if isinstance(error, ValueError):
        return as_errors(error) + "\n"
    return "".join(traceback.format_exception(error))


def _leave() -> None:
    """Part when all have done their work; what a strategy wrapped must be gone before the group is."""
    global _group
    import gc

    import torch

    gc.collect()
    barrier()
    torch.distributed.destroy_process_group()
    _group = None


def barrier() -> None:
    """Wait for all ranks."""
    if _group is not None:
        import torch

        torch.distributed.barrier()


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives on the first rank, on all of them."""
    if _group is None:
        return make()
    import torch

    found = [make() if is_first() else None]
    torch.distributed.broadcast_object_list(found, src=0)
    return found[0]  # type: ignore[return-value]


def first_in_turn(make: Callable[[], T]) -> T:
    """What `make` gives on this rank, after it was done on the first, whose files the others then find."""
    if is_first():
        made = make()
        barrier()
        return made
    barrier()
    return make()


@contextmanager
def held_by_first(lock: AbstractContextManager[None]) -> Iterator[None]:
    """A lock that the first rank holds for all."""
    with lock if is_first() else nullcontext():
        barrier()
        yield


def gathered(own: T) -> list[T]:
    """Every rank's value, in the ranks' order, on all of them."""
    if _group is None:
        return [own]
    import torch

    found: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(found, own)
    return found


def totals(*own: float) -> tuple[float, ...]:
    """The sums over ranks, in the ranks' order."""
    if _group is None:
        return own
    return tuple(sum(values) for values in zip(*gathered(own), strict=True))


def share(items: Sequence[T]) -> list[tuple[T, bool]]:
    """This rank's items, each with whether it counts: see `shares`."""
    return shares(items, rank(), world_size())


def shares(items: Sequence[T], own: int, size: int) -> list[tuple[T, bool]]:
    """One rank's items: every size-th from its own number on, and the first of all, which does not count, as filler.

    All ranks then have as many: where weights are shared, no rank can compute alone.
    """
    found = [(item, True) for item in items[own::size]]
    longest = -(-len(items) // size)
    return found + [(item, False) for item in items[:1]] * (longest - len(found))
