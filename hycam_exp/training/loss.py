"""The loss: -log p of every target token. Training and evaluation take it from here.

It is computed for some target positions at a time, forward and backward, so that neither a copy of the logits in a
wider type nor log p of all of them is ever held. On a CPU it is computed in float64: in float32 the sum over a large
vocabulary loses the small terms of a confident token, all to one side.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hycam_exp.config.settings import LOSS_CHUNK
from hycam_exp.data.batches import IGNORE


def token_nats(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of every label given what stands before it (B, L - 1); 0 where the label is IGNORE.

    In float64 on a CPU, elsewhere in at least float32. The gradient has the type of the logits.
    """
    nats: Tensor = _TokenNats.apply(logits, labels[:, 1:])
    return nats


class _TokenNats(torch.autograd.Function):
    """Keeps the logits and each position's log of the sum of exp(logit - largest), and recomputes the rest."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        on_cpu = logits.device.type == "cpu"
        wide = torch.float64 if on_cpu else torch.promote_types(torch.float32, logits.dtype)
        nats = torch.zeros(targets.shape, dtype=wide, device=logits.device)  # (B, L - 1)
        spread = torch.zeros_like(nats)  # (B, L - 1)
        for place in _chunks(targets, logits.shape[-1]):
            x = logits[place].to(wide)  # (C, V)
            x -= x.amax(-1, keepdim=True)  # before the sum: its log would lose digits beside the largest
            spread[place] = x.exp().sum(-1).log()
            nats[place] = spread[place] - x.gather(-1, targets[place].unsqueeze(-1)).squeeze(-1)
        ctx.save_for_backward(logits, targets, spread)
        return nats

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None]:
        logits, targets, spread = ctx.saved_tensors
        gradient = torch.zeros_like(logits)  # (B, L, V)
        narrow = torch.promote_types(torch.float32, logits.dtype)
        for place in _chunks(targets, logits.shape[-1]):
            p = logits[place].to(narrow)  # (C, V)
            p -= p.amax(-1, keepdim=True)
            p.sub_(spread[place].to(narrow).unsqueeze(-1)).exp_()
            p[torch.arange(len(p), device=p.device), targets[place]] -= 1
            p *= incoming[place].to(narrow).unsqueeze(-1)
            gradient[place] = p.to(gradient.dtype)
        return gradient, None


def _chunks(targets: Tensor, vocabulary: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The places (row, position) of the targets, some at a time."""
    rows, positions = (targets != IGNORE).nonzero(as_tuple=True)
    size = max(1, LOSS_CHUNK // vocabulary)
    yield from zip(rows.split(size), positions.split(size), strict=True)
