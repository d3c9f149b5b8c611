"""The forecast of one cell: parameters, memory, work, time, the adapter's size, and whether it fits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hycam_exp.config import Run
from hycam_exp.method_settings import METHODS
from hycam_exp.plan.accelerators import Accelerator
from hycam_exp.plan.flops import work
from hycam_exp.plan.memory import Parts, Step
from hycam_exp.plan.shape import Batch, Shape, bytes_of
from hycam_exp.plan.workload import Workload

MOST_DEVICES = 64  # that sharding is tried on


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Estimated hours of one cell; None: not known. Early stopping may end training before."""

    train: float | None
    validate: float | None
    generate: float | None
    """At most: every response as long as it may be."""

    @property
    def total(self) -> float | None:
        """The sum of what is known; None without training."""
        return None if self.train is None else self.train + (self.validate or 0) + (self.generate or 0)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a cell will need on an accelerator."""

    parameters_total: int
    parameters_trainable: int
    checkpointing: bool
    """Whether the cell's trainer recomputes activations: which of the two memories counts."""
    memory_checkpointed: Parts
    memory_plain: Parts
    strategy: str
    devices: int
    rows: int
    """Of a micro-batch."""
    accumulation: int
    length: int
    """Tokens of the longest row that memory is counted for."""
    flops_per_step: int
    """Of one optimiser step over all devices, at the mean length of a row."""
    steps: int | None
    hours: Hours
    adapter_bytes: int
    workload: Workload | None
    fits: bool
    remedy: str | None
    """What would make it fit, the least change first; None where it fits, or nothing that is tried helps."""

    @property
    def memory(self) -> Parts:
        """At the peak, as the cell is configured."""
        return self.memory_checkpointed if self.checkpointing else self.memory_plain


def forecast(run: Run, shape: Shape, load: Workload | None, device: Accelerator, utilisation: float) -> Forecast:
    """The forecast of a run.

    Raises:
        ValueError: the method does not fit the backbone, or the texts its positions.
    """
    run.method.check_width(shape.width)
    step = step_of(run, shape, device, run.trainer.micro_batch_size)
    peaks = {on: replace(step, checkpointing=on).peak() for on in (True, False)}
    mean = math.ceil(load.tokens) if load else run.data.max_length
    once = work(shape, run.method, replace(step.batch, length=mean), step.checkpointing)
    per_step = once.total * step.accumulation * step.devices
    steps = math.ceil(load.train / run.recipe.global_batch_size) * run.recipe.epochs if load else None
    saved = step.total_parameters if step.trains_backbone else step.total_parameters - shape.dimensions.parameters
    fits = peaks[step.checkpointing].total <= device.memory
    return Forecast(
        parameters_total=step.total_parameters,
        parameters_trainable=step.trained,
        checkpointing=step.checkpointing,
        memory_checkpointed=peaks[True],
        memory_plain=peaks[False],
        strategy=step.strategy,
        devices=step.devices,
        rows=step.batch.rows,
        accumulation=step.accumulation,
        length=step.batch.length,
        flops_per_step=per_step,
        steps=steps,
        hours=_hours(run, shape, load, steps, per_step, step, device, utilisation),
        adapter_bytes=saved * step.width.trained,
        workload=load,
        fits=fits,
        remedy=None if fits else remedy(run, shape, device),
    )


def step_of(run: Run, shape: Shape, device: Accelerator, micro_batch_size: int) -> Step:
    """A training step of the run with micro-batches of at most so many records (as `data.batches.Schedule`)."""
    recipe, trainer = run.recipe, run.trainer
    micro = min(micro_batch_size, recipe.global_batch_size)
    accumulation = math.ceil(recipe.global_batch_size / (micro * trainer.world_size))
    rows = math.ceil(recipe.global_batch_size / (accumulation * trainer.world_size))
    return Step(
        shape=shape,
        settings=run.method,
        width=bytes_of(recipe.precision, METHODS[run.method.name].trains_backbone),
        batch=Batch(rows=rows, length=run.data.max_length, padded=rows > 1 or run.data.padding == "max_length"),
        attention=run.model.attention,
        checkpointing=trainer.activation_checkpointing,
        accumulation=accumulation,
        foreach=device.gpu,
        strategy=trainer.strategy,
        devices=trainer.world_size,
    )


def remedies(run: Run, shape: Shape, device: Accelerator) -> Iterator[tuple[str, Step]]:
    """What can be changed without changing the result, the least change first: the words, and the step then."""
    now = step_of(run, shape, device, run.trainer.micro_batch_size)
    checkpointed = replace(now, checkpointing=True)
    words = "" if now.checkpointing else "trainer.activation_checkpointing=true"
    if words:
        yield words, checkpointed
    micro = now.batch.rows // 2
    while micro >= 1:
        smaller = replace(step_of(run, shape, device, micro), checkpointing=True)
        yield f"{words} trainer.micro_batch_size={micro}".strip(), smaller
        micro //= 2
    smallest = replace(step_of(run, shape, device, 1), checkpointing=True)
    devices = 2
    while device.gpu and devices <= MOST_DEVICES:
        sharded = replace(smallest, strategy="fsdp", devices=devices)
        yield f"{words} trainer.micro_batch_size=1, weights sharded over {devices} GPUs".strip(), sharded
        devices *= 2


def remedy(run: Run, shape: Shape, device: Accelerator) -> str | None:
    """The first of `remedies` with which the run fits."""
    found = (words for words, step in remedies(run, shape, device) if step.peak().total <= device.memory)
    return next(found, None)


def _hours(
    run: Run, shape: Shape, load: Workload | None, steps: int | None, per_step: int, step: Step, device: Accelerator,
    utilisation: float,
) -> Hours:  # fmt: skip
    """Work over what the devices do of it in an hour; decoding reads every weight once a token and batch."""
    if load is None or steps is None or run.recipe.precision == "float64":
        return Hours(train=None, validate=None, generate=None)
    peak = device.narrow if run.recipe.precision == "bf16_mixed" else device.wide
    hourly = 3600 * peak * utilisation * step.devices
    row = Batch(rows=1, length=math.ceil(load.tokens), padded=False)
    validations = run.recipe.validations_per_epoch * run.recipe.epochs
    forward = work(shape, run.method, row, False).forward
    generate: float | None = 0.0
    if run.evaluation.test and run.evaluation.generate:
        batches = math.ceil(load.test / run.trainer.evaluation_batch_size) * (1 + run.evaluation.generate_before)
        read = batches * run.evaluation.max_new_tokens * step.weights
        generate = read / device.bandwidth / 3600 if device.bandwidth else None
    return Hours(
        train=steps * per_step / hourly,
        validate=validations * load.validation * forward / hourly,
        generate=generate,
    )
