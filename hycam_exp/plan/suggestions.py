"""What would make a cell fit: overrides of the trainer, the least change first; they leave method and recipe alone.

Results change by rounding, and for HyCAM by more: its balance loss is per micro-batch and rank, its noise per rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hycam_exp.config.settings import Run, TrainerSettings, refusal
from hycam_exp.plan.devices import Accelerator
from hycam_exp.plan.memory import fits, step_of
from hycam_exp.plan.sizes import Shape

MOST_DEVICES = 64  # that sharding is tried on
OF_A_NODE = 8


@dataclass(frozen=True)
class Suggestion:
    """A changed run, and the overrides that change it."""

    run: Run
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.overrides)


def remedy(run: Run, shape: Shape, device: Accelerator) -> Suggestion | None:
    """The first of `suggestions` with which the run fits; None where none helps."""
    return next((found for found in suggestions(run, shape, device) if fits(found.run, shape, device)), None)


def suggestions(run: Run, shape: Shape, device: Accelerator) -> Iterator[Suggestion]:
    """Checkpointing, smaller micro-batches, offload where there is ZeRO, then sharding and offload beyond it."""
    now = step_of(run, shape, device)
    rows, trainer = now.batch.rows, replace(run.trainer, activation_checkpointing=True)
    if refusal(run.method, run.trainer.strategy) is None:
        halves = [rows >> power for power in range(1, rows.bit_length())]
        yield _suggestion(run, trainer)
        yield from (_suggestion(run, replace(trainer, micro_batch_size=micro)) for micro in halves)
        if trainer.strategy.startswith("zero") and not trainer.offload:
            yield _suggestion(run, replace(trainer, micro_batch_size=1, offload=True))
    if device.gpu and run.model.quantize is None:  # packed weights are not cut up
        for changed in _strategies(trainer, rows):
            if changed.world_size >= trainer.world_size and refusal(run.method, changed.strategy) is None:
                yield _suggestion(run, changed)


def _strategies(now: TrainerSettings, rows: int) -> Iterator[TrainerSettings]:
    """More GPUs of one node, then the host's memory, then more nodes."""
    alone = replace(now, strategy="zero2", devices=1, num_nodes=1, micro_batch_size=1, offload=True)
    for devices in (2, 4, OF_A_NODE):
        spread = replace(alone, strategy="fsdp", devices=devices, offload=False)
        yield from (replace(spread, micro_batch_size=micro) for micro in dict.fromkeys((rows, 1)))
    for devices in (1, 2, 4, OF_A_NODE):
        yield from (replace(alone, strategy=strategy, devices=devices) for strategy in ("zero2", "zero3"))
    nodes = 2
    while nodes * OF_A_NODE <= MOST_DEVICES:
        yield replace(alone, strategy="fsdp", devices=OF_A_NODE, num_nodes=nodes, offload=False)
        nodes *= 2


def _suggestion(run: Run, trainer: TrainerSettings) -> Suggestion:
    """The run with another trainer. A strategy's own file sets more than the strategy, so all that counts is said."""
    now = run.trainer
    chosen = trainer.strategy != now.strategy
    found = [f"trainer={trainer.strategy}"] if chosen else []
    usual = {"activation_checkpointing": True, "num_nodes": 1, "offload": False}
    for field in ("devices", "num_nodes", "activation_checkpointing", "micro_batch_size", "offload"):
        value = getattr(trainer, field)
        kept = value == getattr(now, field) and (not chosen or value == usual.get(field))
        if not kept:
            found.append(f"trainer.{field}={str(value).lower()}")
    if chosen:
        trainer = replace(trainer, name=trainer.strategy, accelerator="gpu")
    return Suggestion(replace(run, trainer=trainer), tuple(found))
