"""The maths of Contextual Attention Modulation, as functions of tensors: Eqs. 2 to 7, 11 and 12 of the paper.

Rows are tokens. W_Shared stands on the right, as in the paper. For W_Spec = B N A the paper's product h W would let B
read the hidden state; its text says that A reads it and B writes back, so a token's code is N A h, and B maps it to d.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def shared_modulation(h_norm: Tensor, w_shared: Tensor) -> Tensor:
    """A_Shared = SiLU(h_norm W_Shared)."""
    return F.silu(h_norm @ w_shared)  # Eqs. 2, 5: (..., d) x (d, d) -> (..., d)


def specialized_modulation(h_norm: Tensor, a: Tensor, n: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """sum_k p_k SiLU(B_k N_k A_k h_norm): the routed specialized CAMs.

    N is folded into A (r x r x d products, once for all tokens), and one product gives the codes of all modules.
    """
    num_specialized, rank, width = a.shape
    folded = torch.bmm(n, a).view(num_specialized * rank, width)  # Eq. 7, from the right
    codes = F.linear(h_norm, folded).unflatten(-1, (num_specialized, rank))  # (..., N_s, r)
    total = torch.zeros_like(codes[..., 0, :1])
    for k in range(num_specialized):
        a_spec = F.silu(F.linear(codes[..., k, :], b[k]))  # Eq. 6: (..., d)
        total = total + p[..., k, None] * a_spec  # Eq. 11
    return total


def modulate(h_att: Tensor, a_fusion: Tensor) -> Tensor:
    """h_out = h_att + h_att * A, in the wider of the two dtypes, returned in h_att's."""
    return (h_att + h_att * a_fusion).to(h_att.dtype)  # Eqs. 4, 12
