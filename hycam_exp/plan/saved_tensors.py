"""What autograd keeps of a decoder block, and what a backward pass over it needs: its operations, tensor by tensor.

The operations are those of transformers' Llama, Mistral and Qwen2 layers in training. An operation's backward can run
once the gradient of its output is there; what it saved is freed when it is done. A tensor that several operations saved
is freed by the first of them in forward order, which is the last in backward.

See: transformers' modeling_llama.py (LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm) and sdpa_attention.py;
PyTorch's notes on autograd mechanics (saved tensors) and derivatives.yaml, which names what each operation saves;
Korthikanti et al. 2022, arXiv 2205.05198, count a GPT block in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hycam_exp.config.methods import method_of
from hycam_exp.plan.sizes import Bytes, MicroBatch, Shape


@dataclass(frozen=True, slots=True)
class Tensor:
    """Something that is kept for the backward pass; equal names are the same memory."""

    name: str
    bytes: int
    method: bool = False
    """It is there because of the method that is attached."""


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of a forward pass."""

    name: str
    saves: Sequence[Tensor] = ()
    passing: int = 0
    """Bytes that are alive at the peak of its forward, beside what is saved by then."""
    working: int = 0
    """Bytes of gradients and temporaries that are alive at the peak of its backward."""
    trained: int = 0
    """Bytes of parameter gradients that its backward leaves behind."""
    cached: int = 0
    """Bytes of narrower copies of trained weights that autocast keeps to the end of the forward pass."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes kept, apart by why: for the backbone alone, or because of the method."""

    backbone: int = 0
    method: int = 0

    @property
    def total(self) -> int:
        return self.backbone + self.method

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(self.backbone + other.backbone, self.method + other.method)


@dataclass(frozen=True, slots=True)
class Moment:
    """An operation's forward or backward: what its tape keeps then, gradients left behind, temporaries."""

    name: str
    kept: Kept
    gradients: int
    working: int

    @property
    def total(self) -> int:
        return self.kept.total + self.gradients + self.working


@dataclass(frozen=True)
class Tape:
    """The operations of a stretch of a forward pass, such as one block."""

    ops: Sequence[Op] = field(default_factory=tuple)

    def saved(self) -> Kept:
        """All that is kept when the forward pass is through."""
        return self._kept(len(self.ops))

    def _kept(self, number: int) -> Kept:
        """What the first `number` operations keep."""
        found: dict[str, Tensor] = {}
        for tensor in (tensor for op in self.ops[:number] for tensor in op.saves):
            found.setdefault(tensor.name, tensor)  # what the backbone keeps first is not the method's
        method = sum(t.bytes for t in found.values() if t.method)
        return Kept(sum(t.bytes for t in found.values()) - method, method)

    @property
    def trained(self) -> int:
        """Bytes of parameter gradients that the backward pass leaves behind."""
        return sum(op.trained for op in self.ops)

    @property
    def cached(self) -> int:
        """Bytes that autocast's cache holds at the end of the forward pass."""
        return sum(op.cached for op in self.ops)

    def backward(self) -> Iterator[Moment]:
        """The moments of the backward pass, in its order."""
        gradients = 0
        for index in reversed(range(len(self.ops))):
            op = self.ops[index]
            yield Moment(op.name, self._kept(index + 1), gradients, op.working)
            gradients += op.trained

    def forward(self) -> Iterator[Moment]:
        """The moments of the forward pass, in its order."""
        for index, op in enumerate(self.ops):
            yield Moment(op.name, self._kept(index + 1), 0, op.passing)


def worst(moments: Iterator[Moment]) -> Moment:
    """The moment that needs most; an empty one where there is none."""
    return max(moments, key=lambda m: m.total, default=Moment("", Kept(), 0, 0))


@dataclass(frozen=True, kw_only=True)
class LinearLayer:
    """A linear layer of a block on a micro-batch, and its input: equal `x` are one tensor."""

    name: str
    inputs: int
    outputs: int
    tokens: int
    width: Bytes
    x: str
    cast: bool
    """The input is wider than a product's, so that every product makes a copy of its own."""
    residual: bool
    """The output is added to the residual stream in its type: its gradient is the stream's, no tensor of its own."""
    waiting: int
    """Bytes of what else waits for its gradient, in the forward and in the backward pass."""

    @property
    def passing(self) -> int:
        """Bytes that are alive in the forward pass: what waits, the input, the output and what is added to it."""
        return self.waiting + self.tokens * (self.inputs + 2 * self.outputs) * self.width.compute

    @property
    def held(self) -> int:
        """Bytes that are alive throughout the backward pass: what waits, and the gradient of the output."""
        return self.waiting + (0 if self.residual else self.tokens * self.outputs * self.width.compute)

    @property
    def adapter_input(self) -> Tensor:
        """The input as an adapter keeps it: under autocast in a narrower copy of its own."""
        size = self.tokens * self.inputs * self.width.compute
        return self.own("x", size) if self.width.mixed else Tensor(self.x, size, method=True)

    @property
    def adapter_working(self) -> int:
        """Bytes of the backward pass through LoRA, where x is kept no more.

        These are the gradient of the scaled output, or later those of x by both ways and their sum.
        """
        c, t = self.width.compute, self.width.trained
        return self.held + self.tokens * max(self.outputs * c, self.inputs * max(2 * c, t))

    @property
    def adapter_passing(self) -> int:
        """Bytes of the forward pass with the input in the adapter's own type, which autocast narrows again."""
        return self.passing + (self.tokens * self.inputs * self.width.trained if self.width.mixed else 0)

    def own(self, what: str, size: int) -> Tensor:
        """A tensor that is kept for this layer because of the method."""
        return Tensor(f"{self.name} {what}", size, method=True)


@dataclass(frozen=True)
class MethodCosts:
    """What a method adds to a step on a backbone; one that leaves all blocks but for their linear layers alone."""

    settings: Any
    shape: Shape

    @property
    def trains_backbone(self) -> bool:
        """Every weight of the backbone is trained."""
        return method_of(self.settings).trains_backbone

    @property
    def modulated(self) -> Sequence[int]:
        """The blocks whose attention the method changes; where there are any, no linear layer is trained."""
        return ()

    @property
    def frozen_parameters(self) -> int:
        """Parameters that the method adds and does not train."""
        return 0

    @property
    def largest_tensor(self) -> int:
        """Elements of the largest trained tensor, which AdamW's loop over tensors makes temporaries of."""
        raise NotImplementedError

    def trains_norms(self, modulated: bool) -> bool:
        """The weights of a block's norms are trained."""
        return self.trains_backbone

    def linear(self, layer: LinearLayer) -> Op:
        """A linear layer with what the method does to it."""
        raise NotImplementedError

    def modulation(self, tokens: int, width: Bytes, held: int) -> Sequence[Op]:
        """What a modulated block does behind its attention, in the order of the forward pass."""
        raise NotImplementedError

    def work(self, tokens: int) -> tuple[int, int]:
        """Operations of what the method adds to all blocks, forward and backward; here nothing."""
        return 0, 0


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of `shape` with a method that has these costs, on one micro-batch."""

    shape: Shape
    batch: MicroBatch
    width: Bytes
    costs: MethodCosts
    attention: str
    """The attention implementation."""
    modulated: bool = False
    """The method changes this block's attention."""
    upstream: bool = True
    """A gradient is wanted for the block's input."""
    quantized: bool = False
    """Linear layers are packed, and unpacked whenever they are computed with."""

    def tape(self) -> Tape:
        """The operations in the order of the forward pass; none where nothing is trained here or before."""
        if not (self.upstream or self.modulated or not self.costs.modulated):
            return Tape()
        return Tape([*self._attention_half(), *self._feed_forward_half()])

    @property
    def stream(self) -> int:
        """Bytes of the residual stream, and of its gradient."""
        return self.batch.tokens * self.shape.width * self.width.stream

    def _norm(self, name: str, x: str, wanted: bool) -> Op:
        """RMSNorm in float32: x and 1 / rms for x's gradient, x / rms for the weight's; five tensors backward."""
        n, d = self.batch.tokens, self.shape.width
        wide = n * d * self.width.norm
        own = self.width.stream != self.width.norm  # a cast makes a tensor of its own
        saves = [Tensor(f"{x} in float32" if own else x, wide), Tensor(f"{name} rms", n * self.width.norm)]
        trained = self.costs.trains_norms(self.modulated)
        normed = [Tensor(f"{name} normed", self.stream, method=not self.costs.trains_backbone)] if trained else []
        return Op(
            name=name,
            saves=[*(saves if wanted else []), *normed],
            working=self.stream + 5 * wide,
            trained=d * self.width.trained if trained else 0,
        )

    def _linear(self, name: str, x: str, held: int) -> Op:
        inputs, outputs = self.shape.linears[name]
        cast = x.startswith("x_norm") and self.width.stream > self.width.compute
        residual = name in ("o_proj", "down_proj") and self.width.stream == self.width.compute
        found = self.costs.linear(LinearLayer(
            name=name, inputs=inputs, outputs=outputs, tokens=self.batch.tokens, width=self.width, x=x, cast=cast,
            residual=residual, waiting=held,
        ))  # fmt: skip
        unpacked = inputs * outputs * self.width.compute if self.quantized else 0
        return replace(found, passing=found.passing + unpacked, working=found.working + unpacked)

    def _attention_half(self) -> list[Op]:
        """Norm, queries, keys, values, rotation, attention, output projection, modulation."""
        n, c, held = self.batch.tokens, self.width.compute, self.stream
        q, k = n * self.shape.queries * c, n * self.shape.keys * c
        ops = [self._norm("norm1", "input", self.upstream)]
        if self.upstream or not self.costs.modulated:
            ops += [self._linear(f"{p}_proj", "x_norm1", held + q + 2 * k) for p in "qkv"]
            ops.append(Op(name="rotation", working=held + 5 * q + 2 * k))  # gradients of q, k, v and four like q
            ops += [self._attend(q, k), self._linear("o_proj", "attention", held)]
        if self.modulated:
            ops += self.costs.modulation(n, self.width, held)
        return ops

    def _attend(self, q: int, k: int) -> Op:
        """Scaled dot-product attention; under a mask keys and values are repeated for every head."""
        batch, c = self.batch, self.width.compute
        repeated = q if batch.padded or self.attention == "eager" else k
        saves = [Tensor("q", q), Tensor("k", repeated), Tensor("v", repeated)]
        squares = batch.rows * batch.length**2
        working = self.stream + 2 * q + 2 * repeated
        if self.attention == "eager":
            per_head = squares * self.shape.heads
            own = [Tensor("softmax", per_head * max(4, c))]
            own += [Tensor("softmax narrowed", per_head * c)] if c < 4 else []
            return Op(name="attention", saves=[*saves, *own], working=working + 2 * per_head * max(4, c))
        saves += [Tensor("attention", q), Tensor("log-sum-exp", batch.tokens * self.shape.heads * 4)]
        if batch.padded and self.attention == "sdpa":
            saves.append(Tensor("mask as numbers", squares * c))
        return Op(name="attention", saves=saves, working=working)

    def _feed_forward_half(self) -> list[Op]:
        """Norm and SwiGLU; the gradients of its two factors wait while one of them goes back."""
        n, c, held = self.batch.tokens, self.width.compute, self.stream
        f = n * self.shape.inner * c
        return [
            self._norm("norm2", "after attention", True),
            self._linear("gate_proj", "x_norm2", held + n * self.shape.width * c),
            Op(name="silu", saves=[Tensor("gate", f)], working=held + n * self.shape.width * c + 2 * f),
            self._linear("up_proj", "x_norm2", held + f),
            Op(name="product", saves=[Tensor("silu(gate)", f), Tensor("up", f)], working=held + 3 * f),
            self._linear("down_proj", "product", held),
        ]
