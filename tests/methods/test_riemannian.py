"""Riemannian preconditioning in the backward pass."""

import copy
import gc
import os
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers.riemannian import create_riemannian_optimizer
from torch import nn

from hycam_exp.methods.riemannian import precondition, riemannian_gradients

NUM, RANK, IN, OUT, DELTA = 3, 2, 5, 6, 1e-6


class Pair(nn.Module):
    """Stacked LoRA factors alone: the sum of B_i A_i x, preconditioned or not."""

    def __init__(self, regularisation: float | None = DELTA, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Parameter(torch.randn(NUM, RANK, IN, dtype=dtype))
        self.b = nn.Parameter(torch.randn(NUM, OUT, RANK, dtype=dtype))
        self.regularisation = regularisation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a, self.b
        if self.regularisation is not None:
            a, b = precondition(a, b, self.regularisation)
        return (b @ (a @ x.T)).sum(0).T


def gradients(pair: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    pair.zero_grad()
    (pair(x) ** 3).mean().backward()
    a, b = pair.parameters()
    return a.grad.clone(), b.grad.clone()


def inputs(rows: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, IN, dtype=dtype, generator=torch.Generator().manual_seed(4))


def slow_gradients(pair: Pair, grad_a: torch.Tensor, grad_b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B^T B + delta I)^-1 G_A and G_B (A A^T + delta I)^-1, one expert after the other, by the inverse."""
    a, b, eye = pair.a.detach(), pair.b.detach(), DELTA * torch.eye(RANK, dtype=torch.float64)
    new_a = [torch.linalg.inv(b[i].T @ b[i] + eye) @ grad_a[i] for i in range(NUM)]
    new_b = [grad_b[i] @ torch.linalg.inv(a[i] @ a[i].T + eye) for i in range(NUM)]
    return torch.stack(new_a), torch.stack(new_b)


def test_gradients_are_the_closed_form_of_every_expert():
    """The backward pass gives what the plain gradients become by the closed form; the value is unchanged."""
    plain, preconditioned = Pair(None), Pair()
    assert torch.equal(plain(inputs(4)), preconditioned(inputs(4)))
    expected = slow_gradients(plain, *gradients(plain, inputs(4)))
    torch.testing.assert_close(gradients(preconditioned, inputs(4)), expected)


def test_a_step_equals_that_of_pefts_riemannian_optimiser():
    """On one LoRA pair, SGD after this backward pass moves the factors as PEFT's optimiser does."""
    regularisation = 1e-2
    torch.manual_seed(3)
    base = nn.Sequential(nn.Linear(IN, OUT, bias=False)).double()
    lora = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["0"], init_lora_weights=False))
    layer = lora.base_model.model[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    own = [p.detach().clone().requires_grad_() for p in (a, b)]
    weight = layer.base_layer.weight.detach()

    optimizer = create_riemannian_optimizer(lora, torch.optim.SGD, lr=0.1, reg=regularisation)
    (lora(inputs(4)) ** 3).mean().backward()
    optimizer.step()

    own_a, own_b = precondition(*own, regularisation)
    ((inputs(4) @ (weight + own_b @ own_a).T) ** 3).mean().backward()
    torch.optim.SGD(own, lr=0.1).step()
    torch.testing.assert_close([p.detach() for p in own], [a.detach(), b.detach()])


def test_accumulated_micro_batches_sum_to_the_preconditioned_sum():
    """Preconditioning each micro-batch's gradient and adding is preconditioning their sum."""
    pair, plain = Pair(), Pair(None)
    parts = inputs(6).split(2)
    for part in parts:
        (pair(part) ** 3).mean().backward()
    summed = [sum(found) for found in zip(*(gradients(plain, part) for part in parts), strict=True)]
    expected = slow_gradients(plain, *summed)
    torch.testing.assert_close((pair.a.grad, pair.b.grad), expected)


def test_the_mean_over_ranks_is_the_preconditioned_mean():
    """What an all-reduce averages after the backward pass is the preconditioned average gradient."""
    pair, plain = Pair(), Pair(None)
    shards = inputs(8).chunk(2)
    mean = [sum(found) / 2 for found in zip(*(gradients(pair, shard) for shard in shards), strict=True)]
    expected = slow_gradients(plain, *gradients(plain, inputs(8)))
    torch.testing.assert_close(tuple(mean), expected)


def run_rank(rank: int, folder: str) -> None:
    """One rank of two: its half of the batch through DDP; rank 0 writes the gradients."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = gradients(nn.parallel.DistributedDataParallel(Pair()), inputs(8).chunk(2)[rank])
    if rank == 0:
        torch.save(found, f"{folder}/gradients.pt")
    gc.collect()  # a DDP model that outlives its group can hang in its destructor
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_under_ddp_have_the_gradients_of_one(tmp_path):
    """DistributedDataParallel over two gloo processes gives the gradients of the whole batch on one."""
    torch.multiprocessing.spawn(run_rank, (str(tmp_path),), nprocs=2)
    torch.testing.assert_close(torch.load(Path(tmp_path) / "gradients.pt"), gradients(Pair(), inputs(8)))


def test_a_copy_and_a_reload_are_preconditioned_alike():
    """deepcopy and load_state_dict(assign=True), which make new parameters, keep the preconditioning."""
    pair = Pair()
    expected = gradients(pair, inputs(4))
    reloaded = Pair()
    reloaded.load_state_dict(copy.deepcopy(pair.state_dict()), assign=True)
    for other in (copy.deepcopy(pair), reloaded):
        torch.testing.assert_close(gradients(other, inputs(4)), expected, rtol=0, atol=0)


def test_zero_factors_in_float32_give_a_finite_gradient():
    """With B = 0, as at first, every gradient is finite, and A's is divided by delta."""
    pair = Pair(dtype=torch.float32)
    pair.b.data.zero_()
    assert all(gradient.isfinite().all() for gradient in gradients(pair, inputs(4, torch.float32)))
    new_a, _ = riemannian_gradients(pair.a, pair.b, torch.ones_like(pair.a), torch.ones_like(pair.b), DELTA)
    torch.testing.assert_close(new_a.detach(), torch.full_like(pair.a, 1e6))


def test_in_float32_a_rank_deficient_factor_divides_its_null_direction_by_delta():
    """Where two rows of A, and columns of B, are equal, the gradients' differences are divided by delta, exactly."""
    torch.manual_seed(0)
    a, b = torch.randn(NUM, RANK, IN), torch.randn(NUM, OUT, RANK)
    a[:, 1], b[..., 1] = a[:, 0], b[..., 0]
    grad_a, grad_b = torch.randn_like(a), torch.randn_like(b)
    new_a, new_b = riemannian_gradients(a, b, grad_a, grad_b, DELTA)
    assert new_a.dtype == new_b.dtype == torch.float32
    expected = ((grad_a[:, 0] - grad_a[:, 1]) / DELTA, (grad_b[..., 0] - grad_b[..., 1]) / DELTA)
    found = (new_a[:, 0] - new_a[:, 1], new_b[..., 0] - new_b[..., 1])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1.0)


def test_a_frozen_factor_stays_without_a_gradient():
    """Freezing one factor leaves the other's preconditioned gradient as it is."""
    expected = gradients(Pair(), inputs(4))
    pair = Pair()
    pair.a.requires_grad_(False)
    (pair(inputs(4)) ** 3).mean().backward()
    assert pair.a.grad is None
    torch.testing.assert_close(pair.b.grad, expected[1])
