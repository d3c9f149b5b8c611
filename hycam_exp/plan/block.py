"""One decoder block as operations: what transformers' Llama, Mistral and Qwen2 layers do in training, tensor by tensor.

See: transformers' modeling_llama.py (LlamaDecoderLayer, LlamaAttention, LlamaMLP, LlamaRMSNorm) and sdpa_attention.py;
Korthikanti et al. 2022, arXiv 2205.05198, count a GPT block in the same way.
"""

from dataclasses import dataclass, replace

from hycam_exp.config.methods import FullFTSettings, HyCAMSettings, MethodSettings
from hycam_exp.plan.attached import Linear, Modulation, linear_op, trains_linears
from hycam_exp.plan.shape import Batch, Bytes, Shape
from hycam_exp.plan.tape import Op, Tape, Tensor


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of `shape` with a method, on one micro-batch."""

    shape: Shape
    batch: Batch
    width: Bytes
    settings: MethodSettings
    attention: str
    """The attention implementation."""
    modulated: bool = False
    """HyCAM is attached to this block."""
    upstream: bool = True
    """A gradient is wanted for the block's input."""
    quantized: bool = False
    """Linear layers are packed, and unpacked whenever they are computed with."""

    def tape(self) -> Tape:
        """The operations in the order of the forward pass; none where nothing is trained here or before."""
        if not (self.upstream or self.modulated or trains_linears(self.settings)):
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
        released = isinstance(self.settings, HyCAMSettings) and self.settings.train_layer_norms and self.modulated
        trained = released or isinstance(self.settings, FullFTSettings)
        normed = [Tensor(f"{name} normed", self.stream, method=released)] if trained else []
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
        layer = Linear(name=name, inputs=inputs, outputs=outputs, x=x, cast=cast, residual=residual)
        found = linear_op(self.settings, layer, self.batch.tokens, self.width, held)
        unpacked = inputs * outputs * self.width.compute if self.quantized else 0
        return replace(found, passing=found.passing + unpacked, working=found.working + unpacked)

    def _attention_half(self) -> list[Op]:
        """Norm, queries, keys, values, rotation, attention, output projection, modulation."""
        n, c, held = self.batch.tokens, self.width.compute, self.stream
        q, k = n * self.shape.queries * c, n * self.shape.keys * c
        ops = [self._norm("norm1", "input", self.upstream)]
        if self.upstream or trains_linears(self.settings):
            ops += [self._linear(f"{p}_proj", "x_norm1", held + q + 2 * k) for p in "qkv"]
            ops.append(Op(name="rotation", working=held + 5 * q + 2 * k))  # gradients of q, k, v and four like q
            ops += [self._attend(q, k), self._linear("o_proj", "attention", held)]
        if self.modulated:
            assert isinstance(self.settings, HyCAMSettings), "only HyCAM modulates"
            modulation = Modulation(settings=self.settings, tokens=n, d=self.shape.width, width=self.width)
            ops += modulation.ops(held)
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
