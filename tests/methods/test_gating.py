"""The top-k gate and the gate-corrected mixture, against loops written from the equations."""

import math

import pytest
import torch

from hycam_exp.methods.gating import gate_weights, mix_experts

D, OUT, RANK, NUM, TOP_K = 5, 6, 2, 4, 2
SHAPE = (2, 3)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def setup_function() -> None:
    torch.manual_seed(0)


def slow_gate(x: torch.Tensor, w_gate: torch.Tensor, top_k: int) -> list[float]:
    """One token's weights: softmax, the largest k kept, divided by their sum."""
    powers = [math.exp(sum(float(x[j] * w_gate[i, j]) for j in range(D))) for i in range(NUM)]
    kept = sorted(range(NUM), key=lambda i: -powers[i])[:top_k]
    return [powers[i] / sum(powers[j] for j in kept) if i in kept else 0.0 for i in range(NUM)]


@pytest.mark.parametrize("top_k", range(1, NUM + 1))
def test_gate_weights_are_the_renormalised_top_of_the_softmax(top_k):
    """g_i is p_i over the sum of the k largest p, and zero for the others."""
    x, w_gate = random(*SHAPE, D), random(NUM, D)
    g = gate_weights(x, w_gate, top_k)
    expected = [[slow_gate(token, w_gate, top_k) for token in row] for row in x]
    torch.testing.assert_close(g, torch.tensor(expected, dtype=torch.float64))
    assert ((g > 0).sum(-1) == top_k).all()


def test_exactly_k_experts_are_chosen_among_equals():
    """A tie is broken, not shared: with a gate of zeros every token still has k weights of 1 / k."""
    g = gate_weights(random(*SHAPE, D), torch.zeros(NUM, D, dtype=torch.float64), TOP_K)
    assert ((g == 1 / TOP_K).sum(-1) == TOP_K).all()
    assert ((g == 0).sum(-1) == NUM - TOP_K).all()


def test_the_gate_is_computed_in_float32_under_autocast_too():
    """bfloat16 logits would move weights by a hundredth."""
    x, w_gate = torch.randn(7, D), torch.randn(NUM, D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        g = gate_weights(x, w_gate, TOP_K)
    assert g.dtype == torch.float32
    assert torch.equal(g, gate_weights(x, w_gate, TOP_K))


def test_a_vanishing_chosen_weight_is_zero_and_not_nan():
    """A second expert whose probability underflows gets weight zero, and its gradients are finite."""
    x = torch.ones(1, 1)
    w_gate = torch.tensor([[500.0], [-500.0], [-500.0]], requires_grad=True)
    codes, b = torch.randn(1, 3, RANK, requires_grad=True), torch.randn(OUT, 3 * RANK, requires_grad=True)
    mix_experts(codes, gate_weights(x, w_gate, 2), b).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (w_gate, codes, b))


def slow_mixture(codes: torch.Tensor, g: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """sum_i sg(sqrt(g_i)) E_i + (g_i - sg(sqrt(g_i))) sg(E_i), with autograd's own stop-gradient."""
    total = torch.zeros(())
    for i in range(NUM):
        expert = codes[..., i, :] @ b[:, i * RANK : (i + 1) * RANK].T
        root = g[..., i : i + 1].sqrt().detach()
        total = total + root * expert + (g[..., i : i + 1] - root) * expert.detach()
    return total


def test_the_mixture_and_its_gradients_are_the_stop_gradient_formula():
    """Values, and gradients to codes, gate weights and B, are those of the formula written with a loop and autograd."""
    made = gate_weights(random(*SHAPE, D), random(NUM, D), TOP_K)
    tensors = (random(*SHAPE, NUM, RANK), made, random(OUT, NUM * RANK))
    upstream = random(*SHAPE, OUT)
    found = []
    for mixture in (mix_experts, slow_mixture):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        value = mixture(*leaves)
        found.append((value, *torch.autograd.grad(value, leaves, upstream)))
    torch.testing.assert_close(found[0], found[1])


def test_by_hand_the_value_is_g_e_and_the_gradients_are_root_g_and_e():
    """One expert, one number: E = 3 * 5 with g = 0.25 gives 3.75; dE has the factor 0.5, dg is E = 15."""
    code, g, b = (torch.tensor(value, requires_grad=True) for value in ([[[5.0]]], [[0.25]], [[3.0]]))
    value = mix_experts(code, g, b)
    value.sum().backward()
    assert value.item() == 0.25 * 15
    assert g.grad.item() == 15
    assert code.grad.item() == 0.5 * 3
    assert b.grad.item() == 0.5 * 5


def test_an_expert_that_is_not_chosen_neither_adds_nor_learns():
    """With weight zero, an expert's code and B have no influence and no gradient."""
    codes, b = random(*SHAPE, NUM, RANK).requires_grad_(), random(OUT, NUM * RANK).requires_grad_()
    g = torch.tensor([0.6, 0.0, 0.4, 0.0], dtype=torch.float64).expand(*SHAPE, NUM)
    value = mix_experts(codes, g, b)
    value.sum().backward()
    changed = codes.detach().clone()
    changed[..., [1, 3], :] = 1e3
    torch.testing.assert_close(mix_experts(changed, g, b), value)
    for i in range(NUM):
        chosen = i in (0, 2)
        assert bool(codes.grad[..., i, :].any()) == chosen
        assert bool(b.grad[:, i * RANK : (i + 1) * RANK].any()) == chosen


def test_only_chosen_experts_rows_of_the_gate_learn():
    """A token moves the gate rows of its chosen experts alone."""
    x, w_gate = random(1, D), random(NUM, D).requires_grad_()
    g = gate_weights(x, w_gate, TOP_K)
    mix_experts(random(1, NUM, RANK), g, random(OUT, NUM * RANK)).sum().backward()
    touched = w_gate.grad.abs().sum(-1) > 1e-12
    assert torch.equal(touched, g[0] > 0)
