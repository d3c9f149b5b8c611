"""The loss of a token, against float64 and against torch's own."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.data.batches import IGNORE
from hycam_exp.training import loss
from hycam_exp.training.loss import target_logits, targets, token_nats


def test_token_nats_are_minus_log_softmax() -> None:
    """Each position's logits score its own target."""
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, -1.0]])
    expected = [math.log(1 + math.e + math.e**2), math.log(math.exp(3) + 1 + math.exp(-1))]
    assert token_nats(logits, torch.tensor([0, 1])).tolist() == pytest.approx([expected[0], expected[1]], rel=1e-12)


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float32])
def test_nats_are_computed_in_float64_on_a_cpu(given: torch.dtype) -> None:
    """A narrower type is lifted before the softmax, so that its nats are those of the same values in float64; the
    logits stay as they are."""
    logits = torch.tensor([[0.5, 8.0, -3.0], [0.0, 0.0, 0.0]], dtype=given)
    before, labels = logits.clone(), torch.tensor([0, 2])
    nats = token_nats(logits, labels)
    assert nats.dtype == torch.float64
    assert torch.equal(nats, token_nats(logits.double(), labels))
    assert torch.equal(logits, before)


class Backbone(nn.Module):
    """Logits of ids by an embedding and an output layer, which counts the positions that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.computed = 0

    def output(self, hidden: Tensor) -> SimpleNamespace:
        self.computed += hidden.shape[:-1].numel()
        return SimpleNamespace(logits=self.head(hidden))


class Picking(Backbone):
    """As transformers' families are: positions can be asked for."""

    def forward(self, input_ids: Tensor, use_cache: bool, logits_to_keep: Tensor) -> SimpleNamespace:
        return self.output(self.embedding(input_ids)[logits_to_keep])


class Whole(Backbone):
    """As a few families are: it gives all logits."""

    def forward(self, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        return self.output(self.embedding(input_ids))


@pytest.mark.parametrize(("kind", "computed"), [(Picking, 3), (Whole, 8)])
def test_logits_are_those_before_each_target_row_after_row(kind: type[Backbone], computed: int) -> None:
    """The token at t is scored by the logits at t - 1, and no others are computed where the family can leave them."""
    with torch.random.fork_rng():
        model = kind()
    labels = torch.tensor([[3, IGNORE, 5, IGNORE], [IGNORE, 1, IGNORE, 2]])
    ids = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 0]])
    found = target_logits(model, labels, input_ids=ids)
    assert targets(labels).tolist() == [5, 1, 2]
    assert torch.equal(found, model.head(model.embedding(torch.tensor([1, 4, 6]))))
    assert model.computed == computed
    assert target_logits(model, torch.full_like(labels, IGNORE), input_ids=ids).shape == (0, 7)


@pytest.mark.parametrize(("vocabulary", "rows"), [(2_048, 1_000), (151_936, 100)])
@pytest.mark.parametrize("margin", [10.0, 20.0])
def test_confident_tokens_have_the_perplexity_of_float64(vocabulary: int, rows: int, margin: float) -> None:
    """Nats of float32 logits, and PPL over 10,000 tokens of them, are float64's to 1e-7, however small they are."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, vocabulary, generator=generator)
    labels = torch.randint(vocabulary, (rows,), generator=generator)
    logits[torch.arange(rows), labels] += margin
    found, x = token_nats(logits, labels).repeat(10_000 // rows), logits.double()
    others = x.scatter(1, labels.unsqueeze(1), -math.inf).logsumexp(-1) - x[torch.arange(rows), labels]
    expected = others.exp().log1p().repeat(10_000 // rows)  # log(1 + the rest's share), with no digit lost beside 1
    assert found.sum().item() == pytest.approx(expected.sum().item(), rel=1e-7, abs=0)
    assert math.exp(found.mean()) == pytest.approx(math.exp(expected.mean()), rel=1e-7, abs=0)


@pytest.mark.parametrize("chunk", [1, 14, 10_000])
def test_loss_and_gradient_are_torchs_own_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Weighted sums of nats and their gradients equal those of cross_entropy in float64, computed whole."""
    monkeypatch.setattr(loss, "LOSS_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(7, (11,), generator=generator)
    weights = torch.randn(11, generator=generator, dtype=torch.float64)
    whole = F.cross_entropy(logits, labels, reduction="none")
    nats = token_nats(logits, labels)
    torch.testing.assert_close(nats, whole, rtol=1e-12, atol=1e-12)
    (expected,) = torch.autograd.grad((whole * weights).sum(), logits)
    (found,) = torch.autograd.grad((nats * weights).sum(), logits)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_the_gradient_has_the_type_of_the_logits(given: torch.dtype) -> None:
    """It is float64's, rounded once."""
    logits = torch.randn(9, 11, generator=torch.Generator().manual_seed(0)).to(given).requires_grad_()
    labels = torch.tensor([1, 2, 3, 4, 5, 6, 7, 9, 10])
    wide = logits.detach().double().requires_grad_()
    (found,) = torch.autograd.grad(token_nats(logits, labels).sum(), logits)
    (expected,) = torch.autograd.grad(token_nats(wide, labels).sum(), wide)
    assert found.dtype == given
    torch.testing.assert_close(found.double(), expected, rtol=2 * torch.finfo(given).eps, atol=1e-6)


def test_a_second_derivative_is_refused() -> None:
    """What is recomputed has no graph: it is an error, and no silent zero."""
    logits = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(token_nats(logits, torch.tensor([1, 2])).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        torch.autograd.grad(first.sum(), logits)
