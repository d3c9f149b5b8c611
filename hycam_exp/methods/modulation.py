"""The maths of Contextual Attention Modulation, as functions of tensors: Eqs. 2 to 7, 11 and 12 of the paper.

Rows are tokens. W_Shared stands on the right, as in the paper. For W_Spec = B N A the paper's product h W would let B
read the hidden state; its text says that A reads it and B writes back, so a token's code is N A h, and B maps it to d.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hycam_exp.methods.first_derivative import first_derivative_only


def low_rank_codes(h_norm: Tensor, a: Tensor, n: Tensor) -> Tensor:
    """N_k A_k h_norm of every module: N is folded into A once for all tokens, then one product gives all codes."""
    num_modules, rank, width = a.shape
    folded = torch.bmm(n, a).view(num_modules * rank, width)  # Eq. 7 without B
    return F.linear(h_norm, folded).unflatten(-1, (num_modules, rank))  # (..., N_s, r)


def decode(
    h_att: Tensor, shared: Tensor | None, h_norm: Tensor, a: Tensor, n: Tensor, b: Tensor, p: Tensor, stream: Tensor
) -> Tensor:
    """h_att + stream * A_Fusion for one token of every row, without gradients: `modulate` of low-rank CAMs, sooner.

    A row is a token: h_att, h_norm and stream are (B, 1, d), p is (B, 1, N_s). For so few, N is cheaper applied to the
    codes than folded into A, and the specialized CAMs are one batched product.
    """
    num_modules, rank, width = a.shape
    low = F.linear(h_norm, a.view(num_modules * rank, width)).view(-1, num_modules, rank)  # (B, N_s, r)
    codes = torch.bmm(low.transpose(0, 1), n.mT)  # Eq. 7 without B: (N_s, B, r)
    specialized = F.silu(torch.bmm(codes, b.mT)).transpose(0, 1)  # Eq. 6: (B, N_s, d)
    a_fusion = torch.bmm(p.to(specialized.dtype), specialized)  # Eq. 11: (B, 1, d)
    if shared is not None:
        a_fusion = F.silu(shared) + a_fusion
    return (h_att + stream * a_fusion).to(h_att.dtype)  # Eq. 12


def with_bias(codes: Tensor, b: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and B with one column more, so that their product is B_k code_k + bias_k; `bias` is (N_s, d)."""
    one = torch.ones_like(codes[..., :1])
    return torch.cat((codes, one), -1), torch.cat((b, bias.unsqueeze(-1)), -1)


def fuse(shared: Tensor | None, codes: Tensor | None, b: Tensor | None, p: Tensor | None) -> Tensor:
    """A_Fusion = SiLU(shared) + sum_k p_k SiLU(B_k code_k), with shared = h_norm W_Shared.

    There may be no shared module, or no specialized ones; codes are (..., N_s, r), or (..., 1, r) if all read one.
    """
    a_fusion = None if shared is None else F.silu(shared)  # Eqs. 2, 5: (..., d)
    if codes is not None:
        assert b is not None, "codes come with B"
        assert p is not None, "codes come with their weights"
        for k in range(b.shape[0]):
            a_spec = F.silu(F.linear(_code(codes, k), b[k]))  # Eq. 6: (..., d)
            weighted = p[..., k, None] * a_spec
            a_fusion = weighted if a_fusion is None else a_fusion + weighted  # Eq. 11
    assert a_fusion is not None, "a modulation has a shared or a specialized module"
    return a_fusion


def _code(codes: Tensor, k: int) -> Tensor:
    return codes[..., min(k, codes.shape[-2] - 1), :]


class _Modulate(torch.autograd.Function):
    """h_att + stream * `fuse`, keeping its inputs alone for the backward pass and computing the rest again.

    Plain autograd would keep three tensors of width d for every specialized module.
    """

    @staticmethod
    def forward(ctx: Any, h_att: Tensor, stream: Tensor | None, *modules: Tensor | None) -> Tensor:
        ctx.save_for_backward(h_att if stream is None else None, stream, *modules)
        return h_att + (h_att if stream is None else stream) * fuse(*modules)  # Eqs. 4, 12

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        h_att, stream, shared, codes, b, p = ctx.saved_tensors
        grad_a = grad * (h_att if stream is None else stream)  # (..., d)
        a_fusion = 0 if shared is None else F.silu(shared)
        grad_shared = None if shared is None else grad_a * _silu_slope(shared)
        grads: list[Any] = [None, None, None]
        if codes is not None:
            specialized, *grads = _specialized_backward(grad_a, codes, b, p)
            a_fusion = a_fusion + specialized
        scaled = grad * a_fusion
        both = (grad + scaled, None) if stream is None else (grad, scaled)
        return *both, grad_shared, *grads


def _specialized_backward(grad_a: Tensor, codes: Tensor, b: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    """The sum over specialized modules of p_k A_Spec_k, and the gradients of codes, B and p."""
    grad_codes, grad_b, grad_p = torch.zeros_like(codes), torch.empty_like(b), torch.empty_like(p)
    total = torch.zeros_like(grad_a)
    for k in range(b.shape[0]):
        code, weight = _code(codes, k), p[..., k, None]
        before = F.linear(code, b[k])  # (..., d)
        a_spec = F.silu(before)
        total = total + weight * a_spec
        grad_p[..., k] = (grad_a * a_spec).sum(-1)
        grad_before = grad_a * weight * _silu_slope(before)
        _code(grad_codes, k).add_(grad_before @ b[k])
        grad_b[k] = grad_before.flatten(0, -2).T @ code.flatten(0, -2)
    return total, grad_codes, grad_b, grad_p


def _silu_slope(x: Tensor) -> Tensor:
    """d SiLU(x) / dx."""
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


def modulate(
    h_att: Tensor,
    shared: Tensor | None,
    codes: Tensor | None,
    b: Tensor | None,
    p: Tensor | None,
    stream: Tensor | None = None,
) -> Tensor:
    """h_out = h_att + h_att * A_Fusion, in the widest dtype of its inputs, returned in h_att's.

    With `stream` (the residual stream after attention) that is scaled instead, as in the released code.
    """
    modules = (shared, codes, b, p)
    dtype = h_att.dtype
    for tensor in (shared, codes):
        dtype = dtype if tensor is None else torch.promote_types(dtype, tensor.dtype)
    inputs = (None if tensor is None else tensor.to(dtype) for tensor in (h_att, stream, *modules))
    with torch.autocast(h_att.device.type, enabled=False):
        return _Modulate.apply(*inputs).to(h_att.dtype)
