"""The maths of Contextual Attention Modulation, as functions of tensors: Eqs. 2 to 7, 11 and 12 of the paper.

Rows are tokens. W_Shared stands on the right, as in the paper. For W_Spec = B N A the paper's product h W would let B
read the hidden state; its text says that A reads it and B writes back, so a token's code is N A h, and B maps it to d.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def specialized_codes(h_norm: Tensor, a: Tensor, n: Tensor) -> Tensor:
    """N_k A_k h_norm of every module: N is folded into A once for all tokens, then one product gives all codes."""
    num_specialized, rank, width = a.shape
    folded = torch.bmm(n, a).view(num_specialized * rank, width)  # Eq. 7 without B
    return F.linear(h_norm, folded).unflatten(-1, (num_specialized, rank))  # (..., N_s, r)


def fuse(shared: Tensor, codes: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """A_Fusion = SiLU(shared) + sum_k p_k SiLU(B_k code_k), with shared = h_norm W_Shared."""
    a_fusion = F.silu(shared)  # Eqs. 2, 5: (..., d)
    for k in range(b.shape[0]):
        a_spec = F.silu(F.linear(codes[..., k, :], b[k]))  # Eq. 6: (..., d)
        a_fusion = a_fusion + p[..., k, None] * a_spec  # Eq. 11
    return a_fusion


class _Modulate(torch.autograd.Function):
    """h_att (1 + `fuse`), keeping its inputs alone for the backward pass and computing the rest again.

    Plain autograd would keep three tensors of width d for every specialized module.
    """

    @staticmethod
    def forward(ctx: Any, h_att: Tensor, shared: Tensor, codes: Tensor, b: Tensor, p: Tensor) -> Tensor:
        ctx.save_for_backward(h_att, shared, codes, b, p)
        return h_att + h_att * fuse(shared, codes, b, p)  # Eqs. 4, 12

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        h_att, shared, codes, b, p = ctx.saved_tensors
        grad_a = grad * h_att  # (..., d)
        a_fusion = F.silu(shared)
        grad_codes, grad_b, grad_p = torch.empty_like(codes), torch.empty_like(b), torch.empty_like(p)
        for k in range(b.shape[0]):
            code = codes[..., k, :]
            before = F.linear(code, b[k])  # (..., d)
            a_spec = F.silu(before)
            weight = p[..., k, None]
            a_fusion = a_fusion + weight * a_spec
            grad_p[..., k] = (grad_a * a_spec).sum(-1)
            grad_before = grad_a * weight * _silu_slope(before)
            grad_codes[..., k, :] = grad_before @ b[k]
            grad_b[k] = grad_before.flatten(0, -2).T @ code.flatten(0, -2)
        return grad + grad * a_fusion, grad_a * _silu_slope(shared), grad_codes, grad_b, grad_p


def _silu_slope(x: Tensor) -> Tensor:
    """d SiLU(x) / dx."""
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


def modulate(h_att: Tensor, shared: Tensor, codes: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """h_out = h_att + h_att * A_Fusion, in the widest dtype of `h_att` and `shared`, returned in h_att's."""
    dtype = torch.promote_types(h_att.dtype, shared.dtype)
    inputs = (tensor.to(dtype) for tensor in (h_att, shared, codes, b, p))
    with torch.autocast(h_att.device.type, enabled=False):
        return _Modulate.apply(*inputs).to(h_att.dtype)
