"""The token-level soft router and its load-balancing loss: Eqs. 8 to 10 of the paper.

All of it in at least float32: Gumbel noise in half precision is infinite or NaN.
"""

import torch
from torch import Tensor


def router_logits(h_norm: Tensor, w_router: Tensor, bias: Tensor | None = None) -> Tensor:
    """logits = h_norm W_router, in at least float32; `w_router` is stored as (N_s, d)."""
    if torch.is_autocast_enabled(h_norm.device.type):
        with torch.autocast(h_norm.device.type, enabled=False):
            return router_logits(h_norm, w_router, bias)
    dtype = torch.promote_types(torch.float32, h_norm.dtype)
    logits = h_norm.to(dtype) @ w_router.to(dtype).T  # Eq. 8: (..., d) x (d, N_s) -> (..., N_s)
    return logits if bias is None else logits + bias.to(dtype)


def gumbel_noise(logits: Tensor) -> Tensor:
    """Gumbel(0, 1) noise from the global generator, in the logits' shape and dtype."""
    exponential = torch.empty_like(logits).exponential_()
    return -exponential.clamp_min(torch.finfo(logits.dtype).tiny).log()


def routing_weights(logits: Tensor, tau: float, noise: Tensor | None, hard: bool = False) -> Tensor:
    """p = softmax((logits + noise) / tau); `hard`: a one-hot choice with the gradient of p (straight-through).

    The paper writes log(pi) for what it calls logits; only the logits themselves are defined for negative values.
    """
    noisy = logits if noise is None else logits + noise
    p = torch.softmax(noisy / tau, dim=-1)  # Eq. 9: (..., N_s)
    if not hard:
        return p
    chosen = torch.zeros_like(p).scatter_(-1, p.argmax(-1, keepdim=True), 1.0)
    return chosen + p - p.detach()


def token_means(p: Tensor, logits: Tensor, mask: Tensor | None) -> Tensor:
    """The means of p and of softmax(logits) over the tokens that the mask keeps: (2, N_s)."""
    both = torch.stack((p, torch.softmax(logits, dim=-1))).flatten(1, -2)  # (2, T, N_s)
    if mask is None:
        return both.mean(1)
    kept = mask.reshape(-1, 1).to(p.dtype)  # (T, 1)
    return (both * kept).sum(1) / kept.sum().clamp_min(1)


def balance_loss(means: Tensor) -> Tensor:
    """sum_k mean_b(p_bk) mean_b(softmax(logits_b)_k), from `token_means`."""
    return means.prod(-2).sum(-1)  # Eq. 10: (..., 2, N_s) -> (...)
