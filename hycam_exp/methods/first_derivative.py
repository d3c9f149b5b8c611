"""Backward passes written by hand that give a first derivative and refuse a second."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]


def first_derivative_only(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """A backward pass whose gradients raise a `ValueError` wherever they are differentiated again.

    torch's once_differentiable looks at the incoming gradients alone. Where these are constant, as under a sum, it
    takes what was computed from the saved tensors for constants too, and a second derivative is silently wrong. Here a
    gradient hangs on all that it was computed from.
    """

    @wraps(backward)
    def differentiated_once(ctx: Any, *incoming: Tensor) -> Gradients:
        with torch.no_grad():
            gradients = backward(ctx, *incoming)
        if not torch.is_grad_enabled():  # no graph of the gradients is asked for
            return gradients
        sources = [tensor for tensor in (*incoming, *ctx.saved_tensors) if tensor is not None]
        return _Refusal.apply(len(gradients), *gradients, *sources)

    return differentiated_once


class _Refusal(torch.autograd.Function):
    """The first `number` tensors as they are, as a function of all the others that has no derivative."""

    @staticmethod
    def forward(ctx: Any, number: int, *tensors: Tensor | None) -> Gradients:
        return tuple(None if tensor is None else tensor.view_as(tensor) for tensor in tensors[:number])

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> Gradients:
        raise ValueError(
            "a second derivative was asked for through a layer that has a first one only (its backward pass is written "
            "by hand to save memory, or is not a gradient's); differentiate once, without create_graph=True"
        )
