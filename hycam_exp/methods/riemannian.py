"""Riemannian preconditioning of a LoRA pair's gradients, in the backward pass.

See: Zhang and Pilanci 2024, arXiv 2402.02347; Sun et al. 2025, RieMoE-LoRA, arXiv 2502.15828.

The map is linear in the gradients, with matrices of the factors alone, which are the same in every micro-batch of a
step and on every data-parallel rank: it commutes with adding and averaging gradients, and any optimiser can follow.
"""

from typing import Any

import torch
from torch import Tensor

from hycam_exp.methods.first_derivative import first_derivative_only


def precondition(a: Tensor, b: Tensor, regularisation: float) -> tuple[Tensor, Tensor]:
    """The factors A (..., r, in) and B (..., out, r) themselves; their gradients become `riemannian_gradients`."""
    return _Precondition.apply(a, b, regularisation)


def riemannian_gradients(a: Tensor, b: Tensor, grad_a: Tensor, grad_b: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """(B^T B + delta I)^-1 G_A and G_B (A A^T + delta I)^-1, each in its gradient's dtype.

    Solved in float64: where B = 0, as at first, or a factor's rank is below r, delta alone keeps the matrix regular,
    and float32 would lose it beside entries of ordinary size.
    """
    new_a, _ = torch.linalg.solve_ex(_damped_gram(b.mT, delta), grad_a.double())  # (..., r, in)
    new_b, _ = torch.linalg.solve_ex(_damped_gram(a, delta), grad_b.double(), left=False)  # (..., out, r)
    return new_a.to(grad_a.dtype), new_b.to(grad_b.dtype)


def _damped_gram(rows: Tensor, delta: float) -> Tensor:
    """R R^T + delta I of (..., r, d), in float64: (..., r, r)."""
    rows = rows.double()
    return rows @ rows.mT + delta * torch.eye(rows.shape[-2], dtype=rows.dtype, device=rows.device)


class _Precondition(torch.autograd.Function):
    """The identity on (A, B), so that a copied, reloaded or sharded parameter keeps its preconditioning."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, regularisation: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a, b)
        ctx.regularisation = regularisation
        return a.view_as(a), b.view_as(b)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad_a: Tensor, grad_b: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return *riemannian_gradients(a, b, grad_a, grad_b, ctx.regularisation), None
