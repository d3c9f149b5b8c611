"""Peak memory of one training step on one device, by part: the largest of the moments at which it can be.

A step is what `training.FineTuning` does: forward, zero_grad (Lightning: after the forward pass), backward, clipping,
AdamW. So the gradients of the step before are there during the forward pass, and with accumulation those of the
micro-batches before during the whole of it.

A frozen linear layer of four bits has two weights in a byte, and a float32 scale for each `NF4_BLOCK` of them; it is
unpacked whole whenever it is computed with, forward and backward. Embeddings, output embedding, norms and biases stay
as they are. See: Dettmers et al. 2023, arXiv 2305.14314, section 3; bitsandbytes' Params4bit and MatMul4Bit;
`models.load.quantization` (scales are not quantised a second time).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hycam_exp.config.methods import MethodSettings, method_of
from hycam_exp.config.settings import LOSS_CHUNK, Run, refusal
from hycam_exp.data.batches import StepSizes
from hycam_exp.plan.devices import Accelerator, Sharding
from hycam_exp.plan.method_costs import MethodCosts, costs_of
from hycam_exp.plan.saved_tensors import Block, Kept, Moment, Tape, worst
from hycam_exp.plan.sizes import Bytes, MicroBatch, Shape, bytes_of

NF4_BLOCK, NF4_SCALE = 64, 4  # packed weights that share a scale, and its bytes
LOOP_TEMPORARIES = 3  # torch's loop over tensors: the last tensor's denominator, a root, and the root scaled


@dataclass(frozen=True, kw_only=True)
class MemoryParts:
    """Bytes on one device at one moment."""

    moment: str
    weights: int
    gradients: int
    optimiser: int
    activations: int = 0
    """Kept for the backward pass of the backbone."""
    method: int = 0
    """Kept for the backward pass because of the method."""
    logits: int = 0
    """The logits and their gradient, and what the loss computes of some of them at once."""
    working: int = 0
    """Gradients of activations, temporaries."""
    buffers: int = 0
    """What the strategy gathers, and what it reduces gradients in."""
    host: int = 0
    """Bytes of the host's memory for one device; not in the sum."""

    @property
    def total(self) -> int:
        trained = self.weights + self.gradients + self.optimiser
        return trained + self.activations + self.method + self.logits + self.working + self.buffers


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """One training step of a backbone with a method on one of `devices`."""

    shape: Shape
    settings: MethodSettings
    width: Bytes
    batch: MicroBatch
    attention: str = "sdpa"
    checkpointing: bool
    """Whether activations are checkpointed: every block's are computed again in the backward pass."""
    accumulation: int = 1
    """Micro-batches in the step."""
    foreach: bool
    """AdamW works on all tensors at once, as torch does on a GPU: one more copy of what it updates."""
    strategy: str = "single"
    devices: int = 1
    offload: bool = False
    quantized: bool = False
    """The backbone's linear layers are packed in four bits."""

    @cached_property
    def trained(self) -> int:
        """Trained parameters."""
        return self.settings.num_parameters(self.shape.dimensions)

    @cached_property
    def total_parameters(self) -> int:
        """All parameters, those of the backbone and of the adapter."""
        added = 0 if self.trains_backbone else self.trained + self.costs.frozen_parameters
        return self.shape.dimensions.parameters + added

    @property
    def trains_backbone(self) -> bool:
        """Every weight of the backbone is trained."""
        return method_of(self.settings).trains_backbone

    @cached_property
    def costs(self) -> MethodCosts:
        """What the method adds to the step."""
        return costs_of(self.settings, self.shape)

    @property
    def weights(self) -> int:
        """Bytes of all weights: frozen ones of the backbone, and the adapter's in the type of trained ones."""
        backbone = self.shape.dimensions.parameters
        whole = backbone * self.width.frozen + (self.total_parameters - backbone) * self.width.trained
        if not self.quantized:
            return whole
        sizes = [inputs * outputs for inputs, outputs in self.shape.dimensions.linears]
        packed = sum(-(-size // 2) + NF4_SCALE * -(-size // NF4_BLOCK) for size in sizes)
        return whole - sum(sizes) * self.width.frozen + packed

    @property
    def linears(self) -> int:
        """Weights of the blocks' linear layers."""
        return sum(inputs * outputs for inputs, outputs in self.shape.dimensions.linears)

    @property
    def read(self) -> int:
        """Bytes that a decoded token moves: all weights, and unpacked ones as they are written and read."""
        return self.weights + (2 * self.linears * self.width.compute if self.quantized else 0)

    @property
    def gradients(self) -> int:
        """Bytes of all parameter gradients."""
        return self.trained * self.width.trained

    @property
    def optimiser(self) -> int:
        """Bytes of the optimiser on one device."""
        return self.sharding.optimiser(self.trained)

    @cached_property
    def sharding(self) -> Sharding:
        """How the strategy divides the step."""
        return Sharding(strategy=self.strategy, devices=self.devices, offload=self.offload, width=self.width)

    @cached_property
    def tapes(self) -> list[Tape]:
        """The blocks' tapes; under checkpointing the embedding's output asks for a gradient, so that all have one."""
        modulated = set(self.costs.modulated)
        first = min(modulated, default=0)
        made: dict[tuple[bool, bool], Tape] = {}
        tapes = []
        for number in range(self.shape.num_blocks):
            kind = (number in modulated, self.checkpointing or self.trains_backbone or number > first)
            if kind not in made:
                made[kind] = Block(
                    shape=self.shape, batch=self.batch, width=self.width, costs=self.costs, attention=self.attention,
                    modulated=kind[0], upstream=kind[1], quantized=self.quantized,
                ).tape()  # fmt: skip
            tapes.append(made[kind])
        return tapes

    @property
    def _input(self) -> int:
        """Bytes of one block's input."""
        return self.batch.tokens * self.shape.width * self.width.stream

    @cached_property
    def _below(self) -> list[Kept]:
        """What is kept of the blocks before each one, and at the end of all: their tapes, or their inputs."""
        sums = [Kept()]
        for tape in self.tapes:
            sums.append(sums[-1] + (Kept(backbone=self._input) if self.checkpointing else tape.saved()))
        return sums

    @cached_property
    def _head(self) -> Kept:
        """Kept by the final norm and the output embedding, and what all blocks share."""
        n, d, width = self.batch.tokens, self.shape.width, self.width
        shared = self._shared.backbone
        norm = n * d * width.norm + n * width.norm
        if not self.trains_backbone:
            return Kept(backbone=shared + norm)
        scored = self.batch.scored * d * width.compute  # the output embedding's input
        cast = self.shape.vocabulary * d * width.compute if width.mixed else 0
        return Kept(backbone=shared + norm + n * d * width.stream + scored + cast)

    @property
    def _vocabulary(self) -> int:
        """Bytes of the gradient of an embedding."""
        return self.shape.vocabulary * self.shape.width * self.width.trained if self.trains_backbone else 0

    def moments(self) -> Iterator[MemoryParts]:
        """The moments at which memory can be at its peak, in their order."""
        kept = self._below[-1] + self._head
        narrow = self.width.compute
        wide = max(4, narrow)
        scored = self.batch.scored * self.shape.vocabulary
        chunk = min(scored, LOSS_CHUNK)
        lifted = chunk * (wide if self.foreach else 8)  # on a CPU in float64
        lowered = chunk * (wide + (narrow if narrow < wide else 0))
        before = self.gradients if self.accumulation > 1 else 0
        cached = sum(tape.cached for tape in self.tapes) if self.checkpointing else 0  # else the tapes keep it anyway
        cache = Kept(backbone=cached) if self.trains_backbone else Kept(method=cached)
        if not self.checkpointing:
            last = worst(self.tapes[-1].forward())
            done = self._below[-2] + self._shared + last.kept
            yield self._at(f"last block forward, {last.name}", done, self.gradients, 0, last.working)
        yield self._at("end of the forward pass", kept + cache, self.gradients, scored * narrow + lifted)
        yield self._at("gradient of the logits", kept, before, 2 * scored * narrow + lowered)
        weight = self.shape.vocabulary * self.shape.width * narrow if self.trains_backbone else 0
        hidden = (self.batch.scored + self.batch.tokens) * self.shape.width * narrow
        yield self._at("output embedding", kept, before, scored * narrow, weight + hidden)
        gradients = self._vocabulary
        outside = self._shared  # and a checkpointed block's input, where its tape does not begin with it
        if self.checkpointing and self.width.stream != self.width.norm:
            outside += Kept(backbone=self._input)
        peaks: dict[int, list[Moment]] = {}  # of each different tape: of computing it again, and of its backward pass
        for number, tape in reversed(list(enumerate(self.tapes))):
            if id(tape) not in peaks:
                passes = [tape.forward(), tape.backward()] if self.checkpointing else [tape.backward()]
                peaks[id(tape)] = [worst(moments) for moments in passes]
            for moment in peaks[id(tape)]:
                reached = max(before, gradients + moment.gradients)
                kept = self._below[number] + moment.kept + outside
                yield self._at(f"block {number}, {moment.name}", kept, reached, 0, moment.working)
            gradients += tape.trained
        yield self._at("input embedding", self._shared, self.gradients, 0, self._vocabulary)
        largest = self.costs.largest_tensor * self.width.trained
        update = self.sharding.update(self.trained)
        if not self.foreach and not self.sharding.zero:
            update = self.sharding.split(LOOP_TEMPORARIES * largest, "optimiser")
        yield self._at("optimiser", self._shared, self.gradients, 0, update)

    @property
    def _shared(self) -> Kept:
        """Token ids, mask and labels; the attention mask of the batch, and the rotation's angles."""
        batch = self.batch
        mask = batch.rows * batch.length**2 if batch.padded else 0
        return Kept(backbone=3 * 8 * batch.tokens + 2 * batch.length * self.shape.head * self.width.compute + mask)

    @cached_property
    def _buffers(self) -> tuple[int, int]:
        """Bytes of the strategy's buffers before the update, and during it, when only DDP's buckets are left."""
        root = self._vocabulary * (1 if self.shape.tied else 2)
        largest = max(root, *(tape.trained for tape in self.tapes))
        buckets = self.sharding.buckets(self.gradients, largest)
        return self.sharding.gathered(self.shape, self.weights) + buckets, buckets if self.strategy == "ddp" else 0

    def _at(self, moment: str, kept: Kept, gradients: int, logits: int, working: int = 0) -> MemoryParts:
        return MemoryParts(
            moment=moment,
            weights=self.sharding.weights(self.weights),
            gradients=self.sharding.gradients(gradients),
            optimiser=self.optimiser,
            activations=kept.backbone,
            method=kept.method,
            logits=logits,
            working=working,
            buffers=self._buffers[moment == "optimiser"],
            host=self.sharding.host(self.weights, self.trained),
        )

    def peak(self) -> MemoryParts:
        """The moment with the largest sum."""
        return max(self.moments(), key=lambda parts: parts.total)


def step_of(run: Run, shape: Shape, device: Accelerator) -> TrainingStep:
    """A training step of the run, with micro-batches of the most rows that it has."""
    recipe, trainer = run.recipe, run.trainer
    sizes = StepSizes.of(recipe, trainer)
    return TrainingStep(
        shape=shape,
        settings=run.method.on(shape.dimensions),
        width=bytes_of(recipe.precision, method_of(run.method).trains_backbone),
        batch=MicroBatch(
            rows=sizes.rows,
            length=run.data.max_length,
            padded=sizes.rows > 1 or run.data.padding == "max_length",
        ),
        attention=run.model.attention,
        checkpointing=trainer.activation_checkpointing,
        accumulation=sizes.accumulation,
        foreach=device.gpu,
        strategy=trainer.strategy,
        devices=trainer.world_size,
        offload=trainer.offload,
        quantized=run.model.quantize is not None,
    )


def fits(run: Run, shape: Shape, device: Accelerator) -> bool:
    """The run's method works under its strategy, and the peak is at most the device's memory."""
    works = refusal(run.method, run.trainer.strategy) is None
    return works and step_of(run, shape, device).peak().total <= device.memory
