"""Eqs. 8 to 10, each against loops written from the paper."""

import math

import pytest
import torch

from hycam_exp.methods.routing import balance_loss, gumbel_noise, router_logits, routing_weights, token_means

D, NUM, T = 5, 3, 4
TAU = 0.5


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def setup_function() -> None:
    torch.manual_seed(0)


def slow_softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [power / sum(powers) for power in powers]


def test_router_logits_are_equation_8():
    """logits[t, k] is the sum over i of h[t, i] W[i, k]; the weight is stored transposed."""
    h, w = random(T, D), random(NUM, D)
    expected = [[sum(float(h[t, i] * w[k, i]) for i in range(D)) for k in range(NUM)] for t in range(T)]
    torch.testing.assert_close(router_logits(h, w), torch.tensor(expected, dtype=torch.float64))


def test_routing_weights_are_equation_9():
    """p_k is exp((logit_k + g_k) / tau) over the sum of these."""
    logits, noise = random(T, NUM), random(T, NUM)
    expected = [slow_softmax([float(logits[t, k] + noise[t, k]) / TAU for k in range(NUM)]) for t in range(T)]
    torch.testing.assert_close(routing_weights(logits, TAU, noise), torch.tensor(expected, dtype=torch.float64))


def test_routing_weights_without_noise_are_a_softmax_at_temperature_tau():
    """Evaluation has no noise: p is the softmax of logits / tau."""
    logits = random(T, NUM)
    expected = [slow_softmax([float(logits[t, k]) / TAU for k in range(NUM)]) for t in range(T)]
    torch.testing.assert_close(routing_weights(logits, TAU, None), torch.tensor(expected, dtype=torch.float64))


def test_balance_loss_is_equation_10_over_kept_tokens():
    """sum_k of the mean of p_k times the mean of softmax(logits)_k, over the tokens that are not padding."""
    logits = random(2, 2, NUM)
    p = routing_weights(logits, TAU, random(2, 2, NUM))
    mask = torch.tensor([[1, 1], [1, 0]])
    kept = [(0, 0), (0, 1), (1, 0)]
    expected = sum(
        sum(float(p[b][t, k]) for b, t in kept) / 3
        * sum(slow_softmax(logits[b, t].tolist())[k] for b, t in kept) / 3
        for k in range(NUM)
    )  # fmt: skip
    assert balance_loss(token_means(p, logits, mask)).item() == pytest.approx(expected, rel=1e-12)


def test_balance_loss_of_even_routing_is_one_over_num_specialized():
    """With equal weights everywhere each term is 1 / N_s squared."""
    logits = torch.zeros(T, NUM)
    assert balance_loss(token_means(routing_weights(logits, TAU, None), logits, None)).item() == pytest.approx(1 / NUM)


def test_balance_loss_of_nothing_but_padding_is_zero():
    """No token, no loss, and no division by zero."""
    logits = random(1, T, NUM)
    assert balance_loss(token_means(routing_weights(logits, TAU, None), logits, torch.zeros(1, T))).item() == 0


def test_gumbel_noise_has_the_gumbel_distribution():
    """The noise's empirical distribution is exp(-exp(-x)) within the Kolmogorov bound of its sample size."""
    size = 200_000
    noise = gumbel_noise(torch.empty(size, dtype=torch.float64)).sort().values
    empirical = torch.arange(1, size + 1, dtype=torch.float64) / size
    distance = (torch.exp(-torch.exp(-noise)) - empirical).abs().max().item()
    assert distance < 1.95 / math.sqrt(size)  # exceeded by chance once in a thousand


def test_routing_of_half_precision_states_is_done_in_float32():
    """Logits, noise and weights of a bfloat16 hidden state are float32, also under autocast."""
    h, w = random(T, D).to(torch.bfloat16), random(NUM, D).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = router_logits(h, w)
    assert logits.dtype == torch.float32
    assert gumbel_noise(logits).dtype == torch.float32
    assert routing_weights(logits, TAU, gumbel_noise(logits)).dtype == torch.float32
