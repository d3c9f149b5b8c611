"""The forecast of one cell: parameters, memory, work, time, the adapter's size, and whether it fits.

Work are the floating-point operations of the matrix products; everything else is left out. See: Kaplan et al. 2020,
arXiv 2001.08361, section 2.1 (2 per weight and token forward, 4 backward), split here into 2 for the gradient of the
input and 2 for that of the weight, which a frozen weight does not need; Dao 2023, arXiv 2307.08691, section 3.1
(attention: two products forward, five backward, one of them a recomputation).
"""

import math
from dataclasses import dataclass, replace

from hycam_exp.config.settings import Run, refusal
from hycam_exp.data.batches import StepSizes
from hycam_exp.plan.devices import Accelerator
from hycam_exp.plan.memory import MemoryParts, TrainingStep, step_of
from hycam_exp.plan.method_costs import MethodCosts
from hycam_exp.plan.sizes import MicroBatch, Shape
from hycam_exp.plan.suggestions import Suggestion, remedy
from hycam_exp.plan.workload import Workload

ATTENTION_FORWARD, ATTENTION_BACKWARD = 2, 5  # products of queries x keys x width of a head, each 2 a multiplication


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of a forward and a backward pass over one micro-batch."""

    forward: int
    backward: int
    recomputed: int
    """Operations of the blocks' forward pass that activation checkpointing repeats."""

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.recomputed


def work(costs: MethodCosts, batch: MicroBatch, checkpointing: bool) -> Work:
    """What one micro-batch takes with a method of these costs, padding included."""
    shape, n = costs.shape, batch.tokens
    first = min(costs.modulated, default=0)
    behind = shape.num_blocks - (0 if checkpointing else first)  # blocks that a gradient goes through
    weights = sum(inputs * outputs for inputs, outputs in shape.linears.values())
    head = 2 * batch.scored * shape.vocabulary * shape.width
    linear, square = 2 * n * weights, 2 * n * batch.length * shape.queries
    forward, backward = costs.work(n)
    full = 2 if costs.trains_backbone else 1  # gradients of the input, and of the weight
    blockwise = shape.num_blocks * (linear + ATTENTION_FORWARD * square) + forward
    return Work(
        forward=blockwise + head,
        backward=full * (behind * linear + head) + behind * ATTENTION_BACKWARD * square + backward,
        recomputed=blockwise if checkpointing else 0,
    )


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Estimated hours of one cell; None: not known. Early stopping may end training before."""

    train: float | None
    validate: float | None
    generate: float | None
    """An upper bound: every response is as long as it may be."""

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
    memory_checkpointed: MemoryParts | None
    """None where the method cannot run under the strategy."""
    memory_plain: MemoryParts | None
    host_per_node: int
    """Bytes of a node's own memory that the strategy fills; 0 without offload."""
    strategy: str
    devices: int
    """Devices of all nodes together."""
    num_nodes: int
    offload: bool
    quantize: str | None
    """How the frozen backbone is packed; no forecast of a packed one was compared with a measurement yet."""
    refusal: str | None
    """Why the method cannot run under the strategy."""
    rows: int
    """Rows of a micro-batch."""
    accumulation: int
    length: int
    """Tokens of the longest row that memory is counted for."""
    flops_per_step: int
    """Of one optimiser step over all devices, at the mean length of a row."""
    steps: int | None
    checkpoint_steps: int
    """Optimiser steps between two checkpoints, at most."""
    hours: Hours
    adapter_bytes: int
    workload: Workload | None
    fits: bool
    remedy: Suggestion | None
    """What would make it fit, the least change; None where it fits, or nothing that is tried helps."""

    @property
    def memory(self) -> MemoryParts | None:
        """Peak memory of the cell as it is configured."""
        return self.memory_checkpointed if self.checkpointing else self.memory_plain

    @property
    def obstacle(self) -> str | None:
        """Why the cell cannot run as it is configured, and what would help; None where it can."""
        if self.fits:
            return None
        help_ = f"fits with {self.remedy}" if self.remedy else "nothing tried helps"
        return f"{self.refusal or 'does not fit'}; {help_}"


def forecast(run: Run, shape: Shape, load: Workload | None, device: Accelerator, utilisation: float) -> Forecast:
    """The forecast of a run.

    Raises:
        ValueError: the method does not fit the backbone, or the texts its positions.
    """
    run.method.on(shape.dimensions).check_width(shape.width)
    step, refused = step_of(run, shape, device), refusal(run.method, run.trainer.strategy)
    peaks = {} if refused else {on: replace(step, checkpointing=on).peak() for on in (True, False)}
    memory = peaks.get(step.checkpointing)
    mean = math.ceil(load.tokens) if load else run.data.max_length
    padded = math.ceil(load.tokens / (1 - (load.padding or 0))) if load else mean
    share = load.target_share(padded) if load else 1.0
    once = work(step.costs, replace(step.batch, length=padded, target_share=share), step.checkpointing)
    per_step = once.total * step.accumulation * step.devices
    sizes, recipe = StepSizes.of(run.recipe, run.trainer), run.recipe
    steps = sizes.windows(load.train) * recipe.epochs if load else None
    every = run.trainer.checkpoint_every_steps
    if load:  # there is one after a validation as well (`training.checkpoints`)
        every = min(every, sizes.validation_interval(load.train, recipe.validations_per_epoch))
    saved = step.total_parameters if step.trains_backbone else step.total_parameters - shape.dimensions.parameters
    fits = memory is not None and memory.total <= device.memory
    return Forecast(
        parameters_total=step.total_parameters,
        parameters_trainable=step.trained,
        checkpointing=step.checkpointing,
        memory_checkpointed=peaks.get(True),
        memory_plain=peaks.get(False),
        host_per_node=memory.host * run.trainer.devices if memory else 0,
        strategy=step.strategy,
        devices=step.devices,
        num_nodes=run.trainer.num_nodes,
        offload=step.offload,
        quantize=run.model.quantize,
        refusal=refused,
        rows=step.batch.rows,
        accumulation=step.accumulation,
        length=step.batch.length,
        flops_per_step=per_step,
        steps=steps,
        checkpoint_steps=every,
        hours=_hours(run, load, steps, per_step, step, device, utilisation),
        adapter_bytes=saved * step.width.trained,
        workload=load,
        fits=fits,
        remedy=None if fits else remedy(run, shape, device),
    )


def _hours(
    run: Run, load: Workload | None, steps: int | None, per_step: int, step: TrainingStep, device: Accelerator,
    utilisation: float,
) -> Hours:  # fmt: skip
    """Work over what the devices do of it in an hour; decoding, whose batches they share, reads all weights a token."""
    if load is None or steps is None or run.recipe.precision == "float64":
        return Hours(train=None, validate=None, generate=None)
    peak = device.narrow if run.recipe.precision == "bf16_mixed" else device.wide
    hourly = 3600 * peak * utilisation * step.devices
    length = math.ceil(load.tokens)
    row = MicroBatch(rows=1, length=length, padded=False, target_share=load.target_share(length))
    validations = run.recipe.validations_per_epoch * run.recipe.epochs
    forward = work(step.costs, row, False).forward
    generate: float | None = 0.0
    if run.evaluation.test and run.evaluation.generate:
        batches = math.ceil(load.test / run.trainer.evaluation_batch_size) * (1 + run.evaluation.generate_before)
        read = math.ceil(batches / step.devices) * run.evaluation.max_new_tokens * step.read
        generate = read / device.bandwidth / 3600 if device.bandwidth else None
    return Hours(
        train=steps * per_step / hourly,
        validate=validations * load.validation * forward / hourly,
        generate=generate,
    )
