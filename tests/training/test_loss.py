"""The loss of a token, against float64 and against torch's own."""

import math

import pytest
import torch
from torch.nn import functional as F

from hycam_exp.data.batches import IGNORE
from hycam_exp.training import loss
from hycam_exp.training.loss import token_nats


def test_token_nats_are_minus_log_softmax() -> None:
    """Position t scores the label at t + 1; an ignored label scores zero."""
    logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, -1.0], [5.0, 5.0, 5.0]]])
    labels = torch.tensor([[0, IGNORE, 1]])
    expected = [0.0, math.log(math.exp(3) + 1 + math.exp(-1))]
    assert token_nats(logits, labels)[0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float32])
def test_nats_are_computed_in_float64_on_a_cpu(given: torch.dtype) -> None:
    """A narrower type is lifted before the softmax, so that its nats are those of the same values in float64."""
    logits = torch.tensor([[[0.5, 8.0, -3.0], [0.0, 0.0, 0.0]]], dtype=given)
    nats = token_nats(logits, torch.tensor([[0, 2]]))
    assert nats.dtype == torch.float64
    assert torch.equal(nats, token_nats(logits.double(), torch.tensor([[0, 2]])))


@pytest.mark.parametrize(("vocabulary", "rows"), [(2_048, 1_000), (151_936, 100)])
@pytest.mark.parametrize("margin", [10.0, 20.0])
def test_confident_tokens_have_the_perplexity_of_float64(vocabulary: int, rows: int, margin: float) -> None:
    """Nats of float32 logits, and PPL over 10,000 tokens of them, are float64's to 1e-7, however small they are."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, rows + 1, vocabulary, generator=generator)
    labels = torch.randint(vocabulary, (1, rows + 1), generator=generator)
    logits[0, torch.arange(rows), labels[0, 1:]] += margin
    found = token_nats(logits, labels)[0].repeat(10_000 // rows)
    x, targets = logits[0, :-1].double(), labels[0, 1:]
    others = x.scatter(1, targets.unsqueeze(1), -math.inf).logsumexp(-1) - x[torch.arange(rows), targets]
    expected = others.exp().log1p().repeat(10_000 // rows)  # log(1 + the rest's share), with no digit lost beside 1
    assert found.sum().item() == pytest.approx(expected.sum().item(), rel=1e-7, abs=0)
    assert math.exp(found.mean()) == pytest.approx(math.exp(expected.mean()), rel=1e-7, abs=0)


@pytest.mark.parametrize("chunk", [1, 14, 10_000])
def test_loss_and_gradient_are_torchs_own_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Weighted sums of nats and their gradients equal those of cross_entropy in float64, computed whole."""
    monkeypatch.setattr(loss, "LOSS_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(7, (3, 6), generator=generator)
    labels[0, :4] = labels[1, 5] = labels[2, :] = IGNORE  # the last row has no target at all
    weights = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    whole = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=IGNORE, reduction="none")
    nats = token_nats(logits, labels)
    torch.testing.assert_close(nats, whole, rtol=1e-12, atol=1e-12)
    (expected,) = torch.autograd.grad((whole * weights).sum(), logits)
    (found,) = torch.autograd.grad((nats * weights).sum(), logits)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_the_gradient_has_the_type_of_the_logits(given: torch.dtype) -> None:
    """It is float64's, rounded once."""
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0)).to(given).requires_grad_()
    labels = torch.tensor([[1, 2, 3, 4, 5], [6, 7, IGNORE, 9, 10]])
    wide = logits.detach().double().requires_grad_()
    (found,) = torch.autograd.grad(token_nats(logits, labels).sum(), logits)
    (expected,) = torch.autograd.grad(token_nats(wide, labels).sum(), wide)
    assert found.dtype == given
    torch.testing.assert_close(found.double(), expected, rtol=2 * torch.finfo(given).eps, atol=1e-6)


def test_a_second_derivative_is_refused() -> None:
    """What is recomputed has no graph: it is an error, and no silent zero."""
    logits = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(token_nats(logits, torch.tensor([[0, 1, 2]])).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        torch.autograd.grad(first.sum(), logits)
