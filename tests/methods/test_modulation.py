"""Eqs. 2 to 7, 11 and 12, each against loops written from the paper."""

import ast
import math
import sys
from pathlib import Path

import torch

from hycam_exp.methods import first_derivative, modulation, routing

D, R, NUM, T = 5, 3, 2, 4


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def setup_function() -> None:
    torch.manual_seed(0)


def inputs() -> dict[str, torch.Tensor]:
    """h_norm, h_att, W_Shared, A, N, B and p of four tokens and two modules."""
    shapes = {"h": (T, D), "att": (T, D), "w": (D, D), "a": (NUM, R, D), "n": (NUM, R, R), "b": (NUM, D, R)}
    tensors = {name: random(*shape) for name, shape in shapes.items()}
    return {**tensors, "p": random(T, NUM).softmax(-1)}


def output(h, att, w, a, n, b, p) -> torch.Tensor:
    return modulation.modulate(att, h @ w, modulation.low_rank_codes(h, a, n), b, p)


def slow_output(h, att, w, a, n, b, p) -> torch.Tensor:
    """Eqs. 4 to 7, 11 and 12, entry by entry, with A reading the hidden state and B writing back."""
    expected = torch.zeros(T, D, dtype=torch.float64)
    for t in range(T):
        for j in range(D):
            total = silu(sum(float(h[t, i] * w[i, j]) for i in range(D)))  # Eq. 5
            for k in range(NUM):
                low = [sum(float(a[k, s, i] * h[t, i]) for i in range(D)) for s in range(R)]
                core = [sum(float(n[k, q, s]) * low[s] for s in range(R)) for q in range(R)]
                total += float(p[t, k]) * silu(sum(float(b[k, j, q]) * core[q] for q in range(R)))  # Eqs. 6, 7, 11
            expected[t, j] = float(att[t, j]) + float(att[t, j]) * total  # Eq. 12
    return expected


def test_the_output_is_that_of_the_papers_equations():
    """h_out = h_att + h_att * (SiLU(h W_Shared) + sum_k p_k SiLU(B_k N_k A_k h)), against loops over entries."""
    tensors = inputs()
    torch.testing.assert_close(output(**tensors), slow_output(**tensors))


def test_one_cam_alone_is_equations_2_and_4():
    """With B at zero the output is h + h * SiLU(h_norm W), the plain CAM."""
    tensors = inputs() | {"b": torch.zeros(NUM, D, R, dtype=torch.float64)}
    h, att, w = tensors["h"], tensors["att"], tensors["w"]
    expected = [
        [float(att[t, j]) * (1 + silu(sum(float(h[t, i] * w[i, j]) for i in range(D)))) for j in range(D)]
        for t in range(T)
    ]
    torch.testing.assert_close(output(**tensors), torch.tensor(expected, dtype=torch.float64))


def test_the_gradients_are_those_of_the_equations():
    """The backward pass, written by hand to save memory, agrees with finite differences for every input."""
    tensors = {name: tensor.requires_grad_() for name, tensor in inputs().items()}
    assert torch.autograd.gradcheck(
        lambda *values: output(**dict(zip(tensors, values, strict=True))), (*tensors.values(),)
    )


def test_one_token_of_every_row_is_decoded_by_the_same_equations():
    """The form for decoding gives the same entries; with a stream it scales that instead of h_att."""
    tensors = {name: t.unsqueeze(1) if name in ("h", "att", "p") else t for name, t in inputs().items()}
    h, att, w, a, n, b, p = tensors.values()
    found = modulation.decode(att, h @ w, h, a, n, b, p, att)
    torch.testing.assert_close(
        found[:, 0], slow_output(**{k: t.squeeze(1) if k in ("h", "att", "p") else t for k, t in tensors.items()})
    )
    zero = torch.zeros_like(att)
    torch.testing.assert_close(modulation.decode(zero, h @ w, h, a, n, b, p, att) + att, found)
    alone = modulation.decode(att, None, h, a, n, b, p, att)
    expected = modulation.modulate(att, None, modulation.low_rank_codes(h, a, n), b, p)
    torch.testing.assert_close(alone, expected)


def test_only_inputs_are_kept_for_the_backward_pass():
    """No tensor of width d is kept for any specialized module."""
    tensors = {name: tensor.requires_grad_() for name, tensor in inputs().items()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        output(**tensors)
    wide = [shape for shape in kept if shape == (T, D)]
    assert len(wide) <= 4  # h_att, h W_Shared, and h once for each of the two products


def test_the_attention_outputs_dtype_is_kept():
    """A half-precision attention output stays in its dtype, and zero modulation leaves its bits as they are."""
    tensors = {name: tensor.float() for name, tensor in inputs().items()}
    zeros = {"w": torch.zeros(D, D), "b": torch.zeros(NUM, D, R), "att": tensors["att"].to(torch.bfloat16)}
    out = output(**(tensors | zeros))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, zeros["att"])


def test_the_maths_knows_no_peft():
    """modulation.py and routing.py, and what they import, import torch and the standard library, and nothing else."""
    for module in (modulation, routing, first_derivative):
        tree = ast.parse(Path(module.__file__).read_text())
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name if isinstance(n, ast.Import) else n.module for n in imports for a in n.names}
        foreign = {str(name).split(".")[0] for name in names - {first_derivative.__name__}}
        assert foreign <= {"torch", *sys.stdlib_module_names}
