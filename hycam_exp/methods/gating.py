"""The top-k gate over experts, and the mixture with the gate-corrected gradient of RieMoE-LoRA.

See: Sun et al. 2025, arXiv 2502.15828.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hycam_exp.methods.first_derivative import first_derivative_only
from hycam_exp.methods.routing import router_logits


def gate_weights(x: Tensor, w_gate: Tensor, top_k: int) -> Tensor:
    """g_i = p_i / (sum of the top k of p), zero elsewhere, with p = softmax(W_g x); in at least float32."""
    p = torch.softmax(router_logits(x, w_gate), dim=-1)  # (..., N)
    top, chosen = p.topk(top_k, dim=-1)  # (..., k)
    return torch.zeros_like(p).scatter(-1, chosen, top / top.sum(-1, keepdim=True))


def mix_experts(codes: Tensor, g: Tensor, b: Tensor) -> Tensor:
    """sum_i g_i E_i with E_i = B_i code_i; codes (..., N, r), g (..., N), b (out, N r).

    The gradient is that of sg(sqrt(g_i)) E_i + (g_i - sg(sqrt(g_i))) sg(E_i), sg being stop-gradient: sqrt(g_i) instead
    of g_i reaches E_i, and E_i reaches g_i. No E_i is ever computed.
    """
    return _MixExperts.apply(codes, g, b.to(codes.dtype))


class _MixExperts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, g: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(codes, g, b)
        return F.linear(_weighted(codes, g), b)  # (..., out)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        codes, g, b = ctx.saved_tensors
        back = (grad @ b).view_as(codes)  # (..., N, r): B_i^T grad
        grad_g = (back.to(g.dtype) * codes).sum(-1)  # E_i . grad
        root = g.sqrt()
        grad_b = grad.flatten(0, -2).T @ _weighted(codes, root).flatten(0, -2)
        return (root.unsqueeze(-1) * back).to(codes.dtype), grad_g, grad_b


def _weighted(codes: Tensor, g: Tensor) -> Tensor:
    """g_i code_i side by side, in the codes' dtype: (..., N r)."""
    return (g.unsqueeze(-1) * codes).to(codes.dtype).flatten(-2)
