"""What each method adds to a training step: what it saves on a block's linear layers, and the work of its products.

Read off `methods/` line by line; names of tensors are those of the code there. c is the bytes of a product's number, t
those of a trained one. `COSTS` has a class for each type of settings; a method without one is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hycam_exp.config.methods import (
    FullFTSettings,
    HyCAMSettings,
    LoRASettings,
    MethodSettings,
    MultiLoRASettings,
    RieMoELoRASettings,
)
from hycam_exp.plan.saved_tensors import LinearLayer, MethodCosts, Op, Tensor
from hycam_exp.plan.sizes import Bytes, Shape


class FullFTCosts(MethodCosts):
    """Full fine-tuning keeps the input of every linear layer, and under autocast a narrow copy of its weight."""

    @property
    def largest_tensor(self) -> int:
        """An embedding, or a linear layer's weight."""
        return max(self.shape.vocabulary * self.shape.width, *(i * o for i, o in self.shape.linears.values()))

    def linear(self, layer: LinearLayer) -> Op:
        """The gradients of input and weight, beside that of the output."""
        c, x, weight = layer.width.compute, layer.tokens * layer.inputs, layer.inputs * layer.outputs
        narrow = weight * c if layer.width.mixed else 0
        copy = [Tensor(f"{layer.name} weight", narrow)] if narrow else []
        return Op(
            name=layer.name,
            saves=[Tensor(f"{layer.name} x" if layer.cast else layer.x, x * c), *copy],
            passing=layer.passing,
            working=layer.held + (x + weight) * c,
            trained=weight * layer.width.trained,
            cached=narrow,
        )


class LoRACosts(MethodCosts):
    """LoRA keeps on each linear layer its input and its codes, x A."""

    @property
    def rank(self) -> int:
        """Of all modules of a linear layer together."""
        return int(self.settings.rank)

    @property
    def products(self) -> int:
        """Multiplications of one token in one block."""
        return self.rank * sum(inputs + outputs for inputs, outputs in self.shape.linears.values())

    @property
    def largest_tensor(self) -> int:
        """The longer side of all modules of the widest layer."""
        return self.rank * max(side for sizes in self.shape.linears.values() for side in sizes)

    def linear(self, layer: LinearLayer) -> Op:
        """A and B are narrowed by autocast, which keeps them to the end of the forward pass."""
        size = self.rank * (layer.inputs + layer.outputs)
        copies = size * layer.width.compute if layer.width.mixed else 0
        codes = layer.own("codes", layer.tokens * self.rank * layer.width.compute)
        return Op(
            name=layer.name,
            saves=[layer.adapter_input, codes, layer.own("copies", copies)],
            passing=layer.adapter_passing,
            working=layer.adapter_working,
            trained=size * layer.width.trained,
            cached=copies,
        )

    def work(self, tokens: int) -> tuple[int, int]:
        """Every product has two backward, for both of its factors."""
        forward = 2 * tokens * self.products * self.shape.num_blocks
        return forward, 2 * forward


class MultiLoRACosts(LoRACosts):
    """Multi-LoRA folds the scales s into B."""

    @property
    def rank(self) -> int:
        """Of all modules of a linear layer together."""
        return int(self.settings.num_modules * self.settings.rank)

    def linear(self, layer: LinearLayer) -> Op:
        """Two tensors of B's size have gradients of the trained type at once."""
        i, o, c, t = layer.inputs, layer.outputs, layer.width.compute, layer.width.trained
        num, total = self.settings.num_modules, self.rank
        saves = [
            layer.adapter_input,
            layer.own("codes", layer.tokens * total * c),
            layer.own("folded B", o * total * c),
            layer.own("scaled s", num * o * t),
            layer.own("copy of A", i * total * c if layer.width.mixed else 0),
        ]
        return Op(
            name=layer.name,
            saves=saves,
            passing=layer.adapter_passing,
            working=layer.adapter_working + 2 * o * total * t,
            trained=(total * (i + o) + num * o) * t,
        )


class RieMoELoRACosts(LoRACosts):
    """RieMoE-LoRA: the gate reads x in the adapter's own type, and the preconditioner solves in float64."""

    @property
    def rank(self) -> int:
        """Of all experts of a linear layer together."""
        return int(self.settings.num_experts * self.settings.rank)

    @property
    def products(self) -> int:
        """The gate reads the input as well."""
        gate = self.settings.num_experts * sum(inputs for inputs, _ in self.shape.linears.values())
        return super().products + int(gate)

    def linear(self, layer: LinearLayer) -> Op:
        """The largest of its backward is the sum of x's gradients by both ways, when neither x is kept any more."""
        i, o, n, width = layer.inputs, layer.outputs, layer.tokens, layer.width
        c, t, num, total = width.compute, width.trained, self.settings.num_experts, self.rank
        gate = n * (2 * num * t + self.settings.top_k * (8 + t) + t)  # p, g; chosen (int64) and top; their sum
        saves = [
            layer.adapter_input,
            layer.own("x of the gate", n * i * t if width.mixed else 0),
            layer.own("gate", gate),
            layer.own("codes", n * total * c),
            layer.own("B side by side", o * total * c),
            layer.own("copy of A", i * total * c if width.mixed else 0),
        ]
        working = layer.held + n * (max(o * c, i * (2 * t - (c if width.mixed else 0))) + total * c)
        solved = 8 * total * (i + 2 * o)
        trained = (total * (i + o) + num * i) * t
        return Op(name=layer.name, saves=saves, passing=layer.passing, working=working + solved, trained=trained)


class HyCAMCosts(MethodCosts):
    """HyCAM leaves the linear layers alone, and modulates what an attention returns."""

    @property
    def modulated(self) -> Sequence[int]:
        """The blocks that it is attached to."""
        return list(self.settings.blocks(self.shape.num_blocks))

    @property
    def frozen_parameters(self) -> int:
        """The released code's router."""
        if self.settings.routing.trainable:
            return 0
        router = self.settings.num_specialized * (self.shape.width + int(self.settings.projection_bias))
        return len(self.modulated) * router

    @property
    def largest_tensor(self) -> int:
        """The shared CAM, or one side of all specialized ones."""
        sizes = {"full": self.shape.width**2, "low_rank": self.settings.rank * self.shape.width, "none": 0}
        return max(sizes[self.settings.shared], self.settings.num_specialized * sizes[self.settings.specialized])

    def trains_norms(self, modulated: bool) -> bool:
        """The released code trains those of the blocks that it modulates."""
        return modulated and bool(self.settings.train_layer_norms)

    def linear(self, layer: LinearLayer) -> Op:
        """The gradients of output and input; nothing is kept."""
        working = layer.held + layer.tokens * layer.inputs * layer.width.compute
        return Op(name=layer.name, passing=layer.passing, working=working)

    def modulation(self, tokens: int, width: Bytes, held: int) -> Sequence[Op]:
        """The operations of `Modulation`, behind the attention."""
        return Modulation(settings=self.settings, tokens=tokens, d=self.shape.width, width=width).ops(held)

    def work(self, tokens: int) -> tuple[int, int]:
        """N is folded into A once a micro-batch; B's products are computed again in the backward pass."""
        d, r, num = self.shape.width, self.settings.rank, self.settings.num_specialized
        low, full = r * d, d * d
        shared = {"none": 0, "full": full, "low_rank": 2 * low}[self.settings.shared]
        codes = num * low if self.settings.specialized == "low_rank" else 0
        up = num * (low if self.settings.specialized == "low_rank" else full)
        folds = r * r * d * (num * (self.settings.specialized == "low_rank") + (self.settings.shared == "low_rank"))
        once = tokens * (shared + codes + num * d) + folds
        blocks = len(self.modulated)
        return 2 * blocks * (once + tokens * up), 2 * blocks * (2 * once + 3 * tokens * up)


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
        return [*self._shared(held), *self._specialized(held), self._modulate(held)]

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
        settings, num, m = self.settings, self.settings.num_specialized, self.compute
        one = self.tokens * self.d * m
        saves = [Tensor("stream" if settings.modulate == "residual_stream" else "h_att", one, method=True)]
        wide, codes, parameters = 5, 0, 0
        if settings.shared != "none":
            saves.append(Tensor("shared", one, method=True))
            wide += 1 if num else 0
        if num:
            wide += 4
            low = settings.specialized == "low_rank"
            codes = self.tokens * (num * (settings.rank + self._bias(1)) if low else self.d) * m
            parameters = num * self.d * (settings.rank if low else self.d) + self._bias(num * self.d)
            own = low or settings.projection_bias
            saves.append(Tensor("codes", codes, method=True) if own else self._wide_x)
            saves.append(Tensor("p", self.tokens * num * m, method=True))
            if settings.projection_bias or (low and self.width.mixed):  # B with a column more, or narrower
                saves.append(Tensor("B", parameters * m, method=True))
        return Op(
            name="modulate",
            saves=saves,
            passing=held + 4 * one,  # h_att or stream, the sum so far, before and a_spec
            working=held + wide * one + parameters * m + 2 * codes,
            trained=parameters * self.width.trained,
        )


COSTS: dict[type[MethodSettings], type[MethodCosts]] = {
    FullFTSettings: FullFTCosts,
    LoRASettings: LoRACosts,
    MultiLoRASettings: MultiLoRACosts,
    RieMoELoRASettings: RieMoELoRACosts,
    HyCAMSettings: HyCAMCosts,
}
"""By the type of a method's settings."""


def costs_of(settings: MethodSettings, shape: Shape) -> MethodCosts:
    """What a method adds to a step on a backbone of that shape.

    Raises:
        ValueError: nothing is known of what the method keeps and computes, or no size of it matches a budget.
    """
    settings = settings.on(shape.dimensions)
    costs = COSTS.get(type(settings))
    if costs is None:
        where = "hycam_exp/plan/method_costs.py says of each what it keeps on a layer and what it computes"
        raise ValueError(f"method={settings.name}: there is no plan of this method; {where}")
    return costs(settings, shape)
