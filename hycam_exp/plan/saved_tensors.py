"""What autograd keeps from a forward pass, and what a backward pass over it needs: operations as data.

An operation's backward can run once the gradient of its output is there; what it saved is freed when it is done. A
tensor that several operations saved is freed by the first of them in forward order, which is the last in backward.

See: PyTorch's notes on autograd mechanics (saved tensors); each operation's saved tensors are those that
derivatives.yaml of PyTorch names for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


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
