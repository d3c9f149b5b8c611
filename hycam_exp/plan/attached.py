"""What each method adds to a block's forward pass: what it saves on a linear layer, and the operations of HyCAM.

Read off `methods/` line by line; names of tensors are those of the code there. c is the width of a product's number,
t that of a trained one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hycam_exp.config.methods import (
    FullFTSettings,
    HyCAMSettings,
    LoRAMatchedSettings,
    LoRASettings,
    MethodSettings,
    MultiLoRASettings,
    RieMoELoRASettings,
)
from hycam_exp.plan.shape import Bytes, Shape
from hycam_exp.plan.tape import Op, Tensor


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear layer of a block, and its input: equal `x` are one tensor."""

    name: str
    inputs: int
    outputs: int
    x: str
    cast: bool
    """The input is wider than a product's, so that every product makes a copy of its own."""
    residual: bool
    """The output is added to the residual stream in its type: its gradient is the stream's, no tensor of its own."""


KNOWN = (FullFTSettings, HyCAMSettings, LoRASettings, MultiLoRASettings, RieMoELoRASettings)


def resolved(settings: MethodSettings, shape: Shape) -> MethodSettings:
    """LoRA of a matched budget as the LoRA that it is on this backbone.

    Raises:
        ValueError: nothing is known of what a method keeps and computes.
    """
    if isinstance(settings, LoRAMatchedSettings):
        rank = settings.rank(shape.dimensions)
        return LoRASettings(name=settings.name, rank=rank, alpha=rank)
    if not isinstance(settings, KNOWN):
        raise ValueError(
            f"method={settings.name}: there is no plan of this method; hycam_exp/plan/attached.py says of each what it"
            " keeps on a layer, hycam_exp/plan/flops.py what it computes"
        )
    return settings


def trains_linears(settings: MethodSettings) -> bool:
    """Some weight in or on a block's linear layers is trained."""
    return not isinstance(settings, HyCAMSettings)


def linear_op(settings: MethodSettings, layer: Linear, tokens: int, width: Bytes, held: int) -> Op:
    """A linear layer with what the method does to it; `held` is what else waits for its gradient meanwhile."""
    i, o, c = layer.inputs, layer.outputs, width.compute
    passing = held + tokens * (i + 2 * o) * c  # the residual stream waits; the input, the output and what is added
    held += 0 if layer.residual else tokens * o * c
    plain = held + tokens * i * c
    if isinstance(settings, HyCAMSettings):
        return Op(name=layer.name, passing=passing, working=plain)
    if isinstance(settings, FullFTSettings):
        x = Tensor(f"{layer.name} x" if layer.cast else layer.x, tokens * i * c)
        copy = [Tensor(f"{layer.name} weight", i * o * c)] if width.mixed else []
        cached = i * o * c if width.mixed else 0
        return Op(
            name=layer.name,
            saves=[x, *copy],
            passing=passing,
            working=plain + i * o * c,
            trained=i * o * width.trained,
            cached=cached,
        )
    wide = tokens * i * width.trained if width.mixed and not isinstance(settings, RieMoELoRASettings) else 0
    return replace(_adapted(settings, layer, tokens, width, held), passing=passing + wide)


def _adapted(settings: MethodSettings, layer: Linear, tokens: int, width: Bytes, held: int) -> Op:
    """The gradient of the scaled output, or later those of x by both ways and their sum, when x is kept no more."""
    i, o, c, t = layer.inputs, layer.outputs, width.compute, width.trained
    x = _own("x", layer, tokens * i * c) if width.mixed else Tensor(layer.x, tokens * i * c, method=True)
    working = held + tokens * max(o * c, i * max(2 * c, t))
    if isinstance(settings, LoRASettings):
        size = settings.rank * (i + o)
        copies = size * c if width.mixed else 0
        saves = [x, _own("codes", layer, tokens * settings.rank * c), _own("copies", layer, copies)]
        return Op(name=layer.name, saves=saves, working=working, trained=size * t, cached=copies)
    if isinstance(settings, MultiLoRASettings):
        total = settings.num_modules * settings.rank
        saves = [
            x,
            _own("codes", layer, tokens * total * c),
            _own("folded B", layer, o * total * c),
            _own("scaled s", layer, settings.num_modules * o * t),
            _own("copy of A", layer, i * total * c if width.mixed else 0),
        ]
        size = total * (i + o) + settings.num_modules * o
        return Op(name=layer.name, saves=saves, working=working + 2 * o * total * t, trained=size * t)
    assert isinstance(settings, RieMoELoRASettings), settings.name
    return _mixture(settings, layer, tokens, width, [x], held)


def _mixture(settings: RieMoELoRASettings, layer: Linear, tokens: int, width: Bytes, x: list[Tensor], held: int) -> Op:
    """The gate reads x in the adapter's own type; the preconditioner solves in float64.

    The largest of its backward is the sum of x's gradients by both ways, when neither x is kept any more.
    """
    i, o, c, t = layer.inputs, layer.outputs, width.compute, width.trained
    num, total = settings.num_experts, settings.num_experts * settings.rank
    gate = tokens * (2 * num * t + settings.top_k * (8 + t) + t)  # p, g; chosen (int64) and top; their sum
    saves = [
        *x,
        _own("x of the gate", layer, tokens * i * t if width.mixed else 0),
        _own("gate", layer, gate),
        _own("codes", layer, tokens * total * c),
        _own("B side by side", layer, o * total * c),
        _own("copy of A", layer, i * total * c if width.mixed else 0),
    ]
    working = held + tokens * (max(o * c, i * (2 * t - (c if width.mixed else 0))) + total * c)
    solved = 8 * total * (i + 2 * o)
    size = total * (i + o) + num * i
    return Op(name=layer.name, saves=saves, working=working + solved, trained=size * t)


def _own(what: str, layer: Linear, size: int) -> Tensor:
    return Tensor(f"{layer.name} {what}", size, method=True)


@dataclass(frozen=True, kw_only=True)
class Modulation:
    """HyCAM behind an attention module: the shared CAM, the codes, the router, and the modulation of h_att."""

    settings: HyCAMSettings
    tokens: int
    d: int
    width: Bytes

    @property
    def compute(self) -> int:
        """Bytes of a number in `modulate`, the widest of its inputs: codes of full CAMs are x itself, not cast."""
        full = self.settings.num_specialized > 0 and self.settings.specialized == "full"
        return self.width.trained if full else self.width.compute

    def ops(self, held: int) -> Sequence[Op]:
        """The operations in the order of the forward pass."""
        found = [*self._shared(held), *self._specialized(held), self._modulate(held)]
        return [op for op in found if op is not None]

    def _x(self, product: str) -> Tensor:
        """x as a product reads it: one tensor for all, or a narrower copy for each product."""
        size = self.tokens * self.d
        if self.width.mixed:
            return Tensor(f"x of {product}", size * self.width.compute, method=True)
        return Tensor("x_norm1", size * self.width.compute, method=True)

    @property
    def _wide_x(self) -> Tensor:
        """x in the type of the trained parameters, which is what the router reads."""
        if self.width.mixed:
            return Tensor("x in float32", self.tokens * self.d * self.width.trained, method=True)
        return self._x("router")

    def _copies(self, name: str, parameters: int) -> list[Tensor]:
        return [Tensor(name, parameters * self.width.compute, method=True)] if self.width.mixed else []

    def _op(self, name: str, saves: Sequence[Tensor], parameters: int, held: int, cached: bool = True) -> Op:
        """A product of x with parameters: gradients of h_att, of its output, of x and of the parameters."""
        c, t = self.width.compute, self.width.trained
        working = held + self.tokens * self.d * (2 * c + (c + t if self.width.mixed else c)) + parameters * c
        narrow = parameters * c if self.width.mixed and cached else 0
        return Op(name=name, saves=saves, working=working, trained=parameters * t, cached=narrow)

    def _low_rank(self, which: str, num: int, held: int) -> list[Op]:
        """N folded into A and one product for all codes; B comes later."""
        r, d, c = self.settings.rank, self.d, self.width.compute
        size = num * r * (d + r) + self._bias(num * 2 * r)
        folded = Tensor(f"{which} folded", num * r * d * c, method=True)
        saves = [self._x(which), folded, *self._copies(f"{which} copies of A and N", size)]
        return [self._op(which, saves, size, held)]

    def _bias(self, number: int) -> int:
        return number if self.settings.projection_bias else 0

    def _shared(self, held: int) -> list[Op]:
        d, r = self.d, self.settings.rank
        if self.settings.shared == "none":
            return []
        if self.settings.shared == "full":
            copy = self._copies("W_shared", d * d)
            return [self._op("shared CAM", [self._x("shared CAM"), *copy], d * d + self._bias(d), held)]
        codes = Tensor("shared codes", self.tokens * (r + self._bias(1)) * self.width.compute, method=True)
        up = self._op("shared B", [codes, *self._copies("shared B", d * r)], d * r + self._bias(d), held)
        return [*self._low_rank("shared codes", 1, held), up]

    def _specialized(self, held: int) -> list[Op]:
        settings, num, d = self.settings, self.settings.num_specialized, self.d
        if num == 0:
            return []
        codes = self._low_rank("codes", num, held) if settings.specialized == "low_rank" else []
        kept = 3 * num * 4 + 4  # p, softmax(logits), the logits' gradient's share; the mask
        router = [Tensor("router weights", self.tokens * kept, method=True)]
        trained = (num * d + self._bias(num)) if settings.routing.trainable else 0
        return [*codes, self._op("router", [*router, *([self._wide_x] if trained else [])], trained, held, False)]

    def _modulate(self, held: int) -> Op:
        """What `_Modulate` saves, and its backward's tensors of width d: grad_a, a_fusion and three of SiLU's slope.

        With a shared CAM its gradient as well, and with specialized ones their sum, before, a_spec and its gradient.
        """
        settings, m = self.settings, self.compute
        num, one = settings.num_specialized, self.tokens * self.d * m
        name = "stream" if settings.modulate == "residual_stream" else "h_att"
        saves = [Tensor(name, one, method=True)]
        wide = 5
        if settings.shared != "none":
            saves.append(Tensor("shared", one, method=True))
            wide += 1 if num else 0
        parameters = 0
        if num:
            wide += 4
            b, parameters = self._bank(num)
            saves += b
        narrow = parameters * m + 2 * self._code_bytes(num)
        return Op(
            name="modulate",
            saves=saves,
            passing=held + 4 * one,  # h_att or stream, the sum so far, before and a_spec
            working=held + wide * one + narrow,
            trained=parameters * self.width.trained,
            cached=0,
        )

    def _code_bytes(self, num: int) -> int:
        r = self.settings.rank + self._bias(1)
        width = num * r if self.settings.specialized == "low_rank" else self.d
        return self.tokens * width * self.compute if num else 0

    def _bank(self, num: int) -> tuple[list[Tensor], int]:
        """Codes, B and p of the specialized CAMs, and how many parameters B has."""
        d, r, m = self.d, self.settings.rank, self.compute
        p = Tensor("p", self.tokens * num * m, method=True)
        low = self.settings.specialized == "low_rank"
        size = num * d * (r if low else d)
        changed = self.settings.projection_bias or (low and self.width.mixed)  # with a column more, or narrower
        b = [Tensor("B", (size + self._bias(num * d)) * m, method=True)] if changed else []
        if low or self.settings.projection_bias:
            codes = Tensor("codes", self._code_bytes(num), method=True)
        else:
            codes = self._wide_x
        return [codes, p, *b], size + self._bias(num * d)


def frozen_parameters(settings: MethodSettings, shape: Shape) -> int:
    """Parameters that the method adds and does not train: the released code's router."""
    if not isinstance(settings, HyCAMSettings) or settings.routing.trainable:
        return 0
    router = settings.num_specialized * (shape.width + int(settings.projection_bias))
    return len(settings.blocks(shape.num_blocks)) * router


def largest_tensor(settings: MethodSettings, shape: Shape) -> int:
    """Elements of the largest trained tensor, which AdamW's loop over tensors makes temporaries of."""
    settings = resolved(settings, shape)
    sides = [side for sizes in shape.linears.values() for side in sizes]
    if isinstance(settings, FullFTSettings):
        return max(shape.vocabulary * shape.width, *(i * o for i, o in shape.linears.values()))
    if isinstance(settings, HyCAMSettings):
        full = shape.width**2
        low = settings.rank * shape.width
        shared = {"full": full, "low_rank": low, "none": 0}[settings.shared]
        return max(shared, settings.num_specialized * (full if settings.specialized == "full" else low))
    num = {MultiLoRASettings: "num_modules", RieMoELoRASettings: "num_experts"}.get(type(settings))
    return getattr(settings, num, 1) * settings.rank * max(sides) if num else settings.rank * max(sides)  # type: ignore[attr-defined]
