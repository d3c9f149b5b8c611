"""Eqs. 2 to 7, 11 and 12, each against loops written from the paper."""

import ast
import math
from pathlib import Path

import torch

from hycam_exp.methods import modulation, routing

D, R, NUM, T = 5, 3, 2, 4


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def setup_function() -> None:
    torch.manual_seed(0)


def test_shared_modulation_is_equation_5():
    """A_Shared[t, j] is SiLU of the sum over i of h[t, i] W[i, j]."""
    h, w = random(T, D), random(D, D)
    expected = [[silu(sum(float(h[t, i] * w[i, j]) for i in range(D))) for j in range(D)] for t in range(T)]
    torch.testing.assert_close(modulation.shared_modulation(h, w), torch.tensor(expected, dtype=torch.float64))


def test_specialized_modulation_is_equations_6_7_and_11():
    """The routed sum is sum_k p_k SiLU(B_k N_k A_k h), with A reading the hidden state and B writing back."""
    h, a, n, b, p = random(T, D), random(NUM, R, D), random(NUM, R, R), random(NUM, D, R), random(T, NUM).softmax(-1)
    expected = torch.zeros(T, D, dtype=torch.float64)
    for t in range(T):
        for k in range(NUM):
            low = [sum(float(a[k, s, i] * h[t, i]) for i in range(D)) for s in range(R)]
            core = [sum(float(n[k, q, s]) * low[s] for s in range(R)) for q in range(R)]
            for j in range(D):
                expected[t, j] += p[t, k] * silu(sum(float(b[k, j, q]) * core[q] for q in range(R)))
    torch.testing.assert_close(modulation.specialized_modulation(h, a, n, b, p), expected)


def test_modulate_is_equation_12():
    """h_out[t, j] is h_att[t, j] + h_att[t, j] A[t, j]."""
    h, a = random(T, D), random(T, D)
    expected = [[float(h[t, j]) + float(h[t, j]) * float(a[t, j]) for j in range(D)] for t in range(T)]
    torch.testing.assert_close(modulation.modulate(h, a), torch.tensor(expected, dtype=torch.float64))


def test_modulate_keeps_the_attention_outputs_dtype():
    """A half-precision attention output stays in its dtype, and zero modulation leaves its bits as they are."""
    h = random(T, D).to(torch.bfloat16)
    out = modulation.modulate(h, torch.zeros(T, D))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, h)


def test_the_maths_knows_no_peft():
    """modulation.py and routing.py import torch and nothing else."""
    for module in (modulation, routing):
        tree = ast.parse(Path(module.__file__).read_text())
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name if isinstance(n, ast.Import) else n.module for n in imports for a in n.names}
        assert {str(name).split(".")[0] for name in names} == {"torch"}
