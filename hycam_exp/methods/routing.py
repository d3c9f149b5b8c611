"""The token-level soft router and its load-balancing loss: Eqs. 8 to 10 of the paper.

All of it in at least float32: Gumbel noise in half precision is infinite or NaN.
"""

import torch
from torch import Tensor


def router_logits(h_norm: Tensor, w_router: Tensor) -> Tensor:
    """logits = h_norm W_router, in at least float32; `w_router` is stored as (N_s, d)."""
    dtype = torch.promote_types(torch.float32, h_norm.dtype)
    with torch.autocast(h_norm.device.type, enabled=False):
        return h_norm.to(dtype) @ w_router.to(dtype).T  # Eq. 8: (..., d) x (d, N_s) -> (..., N_s)


def gumbel_noise(logits: Tensor) -> Tensor:
    """Gumbel(0, 1) noise from the global generator, in the logits' shape and dtype."""
    exponential = torch.empty_like(logits).exponential_()
    return -exponential.clamp_min(torch.finfo(logits.dtype).tiny).log()


def routing_weights(logits: Tensor, tau: float, noise: Tensor | None) -> Tensor:
    """p = softmax((logits + noise) / tau); without noise in evaluation.

    The paper writes log(pi) for what it calls logits; only the logits themselves are defined for negative values.
    """
    noisy = logits if noise is None else logits + noise
    return torch.softmax(noisy / tau, dim=-1)  # Eq. 9: (..., N_s)


def balance_loss(p: Tensor, logits: Tensor, mask: Tensor | None) -> Tensor:
    """sum_k mean_b(p_bk) mean_b(softmax(logits_b)_k), means over the tokens that the mask keeps."""
    p, q = p.flatten(0, -2), torch.softmax(logits, dim=-1).flatten(0, -2)  # (T, N_s)
    kept = torch.ones_like(p[:, :1]) if mask is None else mask.reshape(-1, 1).to(p.dtype)  # (T, 1)
    count = kept.sum().clamp_min(1)
    return ((p * kept).sum(0) / count * ((q * kept).sum(0) / count)).sum()  # Eq. 10
