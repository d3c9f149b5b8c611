"""The loss: -log p of every target token. Training and evaluation take it from here.

The output embedding runs on positions that have a target, and on no others. The loss is computed for some of them at a
time, forward and backward, so that neither a copy of the logits in a wider type nor log p of all of them is ever held.
On a CPU it is computed in float64: in float32 the sum over a large vocabulary loses the small terms of a confident
token, all to one side.
"""

from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.settings import LOSS_CHUNK
from hycam_exp.data.batches import IGNORE
from hycam_exp.methods import backbone_of


def target_logits(model: nn.Module, labels: Tensor, **inputs: Tensor) -> Tensor:
    """The logits (N, V) of the positions whose next token is a target, row after row; `targets` are theirs.

    The model's own forward picks them out before its output embedding, with what it does to logits (a cap, a scale);
    of a family whose forward cannot, all logits are computed.
    """
    positions = F.pad(labels[:, 1:] != IGNORE, (0, 1))  # (B, L)
    if "logits_to_keep" in signature(backbone_of(model).forward).parameters:
        chosen: Tensor = model(**inputs, use_cache=False, logits_to_keep=positions).logits  # (N, V)
        return chosen
    whole: Tensor = model(**inputs, use_cache=False).logits  # (B, L, V)
    return whole[positions]


def targets(labels: Tensor) -> Tensor:
    """The target tokens (N,) of labels (B, L), row after row; a row's first token is none."""
    return labels[:, 1:][labels[:, 1:] != IGNORE]


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p (N,) of every target (N,) by its logits (N, V).

    In float64 on a CPU, elsewhere in at least float32. The gradient has the type of the logits.
    """
    nats: Tensor = _TokenNats.apply(logits, targets)
    return nats


class _TokenNats(torch.autograd.Function):
    """Keeps the logits and each position's log of the sum of exp(logit - largest), and recomputes the rest."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        on_cpu = logits.device.type == "cpu"
        wide = torch.float64 if on_cpu else torch.promote_types(torch.float32, logits.dtype)
        nats = torch.zeros(targets.shape, dtype=wide, device=logits.device)  # (N,)
        spread = torch.zeros_like(nats)  # (N,)
        for chunk in _chunks(logits):
            x = logits[chunk].to(wide, copy=True)  # (C, V)
            x -= x.amax(-1, keepdim=True)  # before the sum: its log would lose digits beside the largest
            own = x.gather(-1, targets[chunk].unsqueeze(-1)).squeeze(-1)
            spread[chunk] = x.exp_().sum(-1).log()
            nats[chunk] = spread[chunk] - own
        ctx.save_for_backward(logits, targets, spread)
        return nats

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None]:
        logits, targets, spread = ctx.saved_tensors
        gradient = torch.empty_like(logits)  # (N, V)
        narrow = torch.promote_types(torch.float32, logits.dtype)
        for chunk in _chunks(logits):
            p = logits[chunk].to(narrow, copy=True)  # (C, V)
            p -= p.amax(-1, keepdim=True)
            p.sub_(spread[chunk].to(narrow).unsqueeze(-1)).exp_()
            p[torch.arange(len(p), device=p.device), targets[chunk]] -= 1
            p *= incoming[chunk].to(narrow).unsqueeze(-1)
            gradient[chunk] = p.to(gradient.dtype)
        return gradient, None


def _chunks(logits: Tensor) -> Iterator[slice]:
    """Some positions at a time."""
    size = max(1, LOSS_CHUNK // logits.shape[-1])
    yield from (slice(start, start + size) for start in range(0, len(logits), size))
