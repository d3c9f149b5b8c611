"""Training: accumulation, early stopping, checkpoints, resuming and failure, on tiny models and hand-made tokens."""

import copy
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hycam_exp.config.compose import compose
from hycam_exp.config.settings import Run
from hycam_exp.data.batches import Schedule, StepSizes
from hycam_exp.data.folds import Fold
from hycam_exp.data.module import FoldData
from hycam_exp.data.tokens import Tokens
from hycam_exp.methods import attach
from hycam_exp.training.fit import (
    FineTuning,
    NonFiniteLossError,
    fit,
    load_best,
    rate_factor,
    step_seed,
)
from hycam_exp.training.loggers import loggers
from tests.methods.conftest import VOCABULARY, perturb, tiny


def sample(index: int, length: int, prompt: int) -> Tokens:
    ids = torch.randint(3, VOCABULARY, (length,), generator=torch.Generator().manual_seed(index)).tolist()
    return Tokens(
        id=f"r{index}", task="t", group=str(index), reference="", input_ids=ids, prompt_length=prompt,
        response_bytes=0, ends=False,
    )  # fmt: skip


def fold(train: int = 16, validation: int = 4) -> Fold:
    rows = [sample(i, 5 + i % 7, 1 + i % 3) for i in range(train + 2 * validation)]
    return Fold(
        train=rows[:train], validation=rows[train : train + validation], test=rows[train + validation :], digest="",
        too_long=[],
    )  # fmt: skip


def run_of(tmp_path: Path, *overrides: str) -> Run:
    return compose(
        "recipe.precision=float64", "recipe.global_batch_size=8", "recipe.epochs=1", "recipe.learning_rate=0.01",
        f"paths.outputs={tmp_path}", *overrides,
    )  # fmt: skip


def trained(tmp_path: Path, run: Run, data: Fold | None = None, family: str = "llama", dtype=torch.float64, move=0.0):
    """A tiny model after `fit`, and what fit returned."""
    data = data or fold()
    sizes = StepSizes.of(run.recipe, run.trainer)
    schedule = Schedule(
        [len(row.input_ids) for row in data.train], 12, sizes.global_batch_size, sizes.micro_batch_size,
        run.recipe.epochs, run.seed,
    )  # fmt: skip
    attempt = len(list((tmp_path / "curves").glob("*"))) + 1
    torch.manual_seed(run.seed)
    model = attach(tiny(family, dtype), run.method)
    if move:
        perturb(model, move)
    result = fit(
        model,
        FoldData(data, schedule, 4, 0, "response"),
        run,
        tmp_path / "training",
        loggers(run, "x", tmp_path, attempt),
    )
    return model, result


@pytest.mark.parametrize("method", ["full_ft", "lora", "hycam"])
def test_accumulation_is_weighted_by_tokens(tmp_path, method, monkeypatch):
    """Micro-batches of 2 x 4, 4 x 2 and 8 x 1 give the same weights to 1e-6, with balance weight 0 and noise off."""
    monkeypatch.setattr("hycam_exp.methods.hycam_layer.gumbel_noise", torch.zeros_like)
    extra = ["method.balance_weight=0"] if method == "hycam" else []
    weights = []
    for micro in (2, 4, 8):
        run = run_of(tmp_path, f"method={method}", f"trainer.micro_batch_size={micro}", *extra)
        model, _ = trained(tmp_path / str(micro), run, move=0.1 if method != "full_ft" else 0)
        weights.append({name: p.detach() for name, p in model.named_parameters() if p.requires_grad})
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(value, other[name], rtol=0, atol=1e-6)


def test_the_first_update_is_that_of_the_mean_over_target_tokens(tmp_path):
    """One step of accumulated micro-batches equals one AdamW step on the mean loss over all target tokens."""
    data = fold(train=8)
    run = run_of(tmp_path, "method=full_ft", "trainer.micro_batch_size=3", "recipe.warmup_ratio=0", "recipe.clip=null")
    model, result = trained(tmp_path, run, data)
    assert result.steps == 1
    reference = tiny("llama").train()
    nats = torch.cat([_slow_nats(reference, row) for row in data.train])
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in reference.parameters() if p.dim() > 1], "weight_decay": run.recipe.weight_decay},
            {"params": [p for p in reference.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=tuple(run.recipe.betas),
        eps=run.recipe.epsilon,
    )
    nats.mean().backward()
    optimizer.step()
    assert result.train_curve[0]["loss"] == pytest.approx(nats.mean().item(), rel=1e-9)
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-9)


def _slow_nats(model, row: Tokens) -> torch.Tensor:
    ids = torch.tensor([row.input_ids])
    logits = model(ids, use_cache=False).logits[0, :-1]
    nats = F.cross_entropy(logits, ids[0, 1:], reduction="none")
    return nats[row.prompt_length - 1 :]


def test_the_auxiliary_loss_is_trained_once(tmp_path):
    """With accumulation the curve's auxiliary loss stays a mean of the micro-batches' balance losses."""
    run = run_of(tmp_path, "method=hycam", "method.balance_weight=1", "trainer.micro_batch_size=2")
    _, result = trained(tmp_path, run)
    # Eq. 10 lies between 1 / N_s for even routing and 1; four micro-batches must not add up to more.
    assert all(1 / 5 - 0.05 < row["auxiliary_loss"] < 1 for row in result.train_curve)


def test_validation_loss_is_the_task_loss_alone(tmp_path):
    """The validation loss is the mean over target tokens without the balance loss, and decides what is best."""
    data = fold()
    run = run_of(tmp_path, "method=hycam", "method.balance_weight=10")
    model, result = trained(tmp_path, run, data)
    model.eval()
    with torch.no_grad():
        nats = torch.cat([_slow_nats(model, row) for row in data.validation])
    assert result.best_validation_loss == pytest.approx(nats.mean().item(), rel=1e-9)
    assert result.best_validation_loss == min(row["loss"] for row in result.validation_curve)
    best = next(row for row in result.validation_curve if row["loss"] == result.best_validation_loss)
    assert best["step"] == result.best_step


def test_the_last_weights_are_validated(tmp_path):
    """Validations come every part of an epoch, and after the last step also where that is no multiple."""
    run = run_of(tmp_path, "method=lora", "recipe.validations_per_epoch=2", "recipe.epochs=1", "recipe.patience=9")
    _, result = trained(tmp_path, run, fold(train=40))
    assert [row["step"] for row in result.validation_curve] == [2, 4, 5]


def test_training_stops_early_when_validation_does_not_improve(tmp_path):
    """A learning rate that harms ends training after `patience` validations without improvement."""
    run = run_of(
        tmp_path, "method=full_ft", "recipe.learning_rate=1", "recipe.epochs=20", "recipe.patience=2",
        "recipe.validations_per_epoch=1", "recipe.clip=null",
    )  # fmt: skip
    _, result = trained(tmp_path, run)
    assert result.stopped_early
    after_best = [row for row in result.validation_curve if row["step"] > result.best_step]
    assert len(after_best) == 2


def test_validation_and_early_stopping_do_not_depend_on_the_cutting(tmp_path):
    """With a validation after every step, whole steps and steps of two and four micro-batches stop at the same one."""
    found = []
    for micro in (8, 4, 2):
        run = run_of(
            tmp_path, "method=full_ft", "recipe.learning_rate=1", "recipe.epochs=10", "recipe.patience=3",
            "recipe.validations_per_epoch=2", f"trainer.micro_batch_size={micro}",
        )  # fmt: skip
        _, result = trained(tmp_path / str(micro), run)
        assert result.stopped_early
        assert result.steps == result.best_step + 3
        found.append((result.steps, result.best_step, [row["step"] for row in result.validation_curve]))
    assert found[0] == found[1] == found[2]
    assert found[0][2] == list(range(1, found[0][0] + 1))


def test_padding_and_mixture_of_the_steps_are_told(tmp_path):
    """padding_share is what the batches that were trained on had, and step_task_entropy that of their records."""
    run = run_of(tmp_path, "method=lora", "trainer.micro_batch_size=4", "recipe.epochs=2")
    data = fold()
    data = replace(data, train=[replace(row, task="ab"[i % 2]) for i, row in enumerate(data.train)])
    _, result = trained(tmp_path, run, data)
    schedule = Schedule([len(row.input_ids) for row in data.train], 12, 8, 4, 2, run.seed)
    windows = [window for epoch in (0, 1) for window in schedule.windows(epoch)]
    batches = [[data.train[i] for i in rows] for window in windows for rows in schedule.micro_batches(window)]
    positions = sum(len(rows) * max(len(row.input_ids) for row in rows) for rows in batches)
    assert result.tokens == 2 * sum(len(row.input_ids) for row in data.train)
    assert result.padding_share == pytest.approx(1 - result.tokens / positions, abs=1e-12)
    shares = [sum(data.train[i].task == "a" for i in window) / 8 for window in windows]
    entropies = [-sum(p * math.log2(p) for p in (share, 1 - share) if p) for share in shares]
    assert result.step_task_entropy == pytest.approx(sum(entropies) / 4, abs=1e-12)


def test_loggers_get_the_routings_summary_alone(tmp_path):
    """The columns of the curves do not grow with layers, modules and tasks; the rows of the router are in the fit."""
    _, result = trained(tmp_path, run_of(tmp_path, "method=hycam"))
    (log,) = tmp_path.glob("**/curves/attempt_1/metrics.csv")
    columns = set(log.read_text().splitlines()[0].split(","))
    assert {name for name in columns if name.startswith("routing")} == {"routing/entropy", "routing/dead_modules"}
    assert len(columns) == 9
    assert len(result.routing) > 1


def test_checkpoints_hold_what_is_trained(tmp_path):
    """Neither the resume checkpoint nor the best weights hold a frozen tensor."""
    run = run_of(tmp_path, "method=hycam", "recipe.epochs=2", "trainer.checkpoint_every_steps=1")
    model, _ = trained(tmp_path, run)
    names = {f"model.{name}" for name, p in model.named_parameters() if p.requires_grad}
    state = torch.load(tmp_path / "training" / "last.ckpt", weights_only=True)
    assert set(state["state_dict"]) == names
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    perturb(model)
    load_best(model, tmp_path / "training")
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if p.requires_grad)


class Interrupted(RuntimeError):
    """Stands for the death of the process."""


class Watched(FineTuning):
    """Notes what every micro-step sees, and dies at a chosen one."""

    seen: list[tuple[int, tuple[str, ...], float]] = []
    dies_at: int | None = None

    def training_step(self, batch, batch_idx):
        state = torch.random.get_rng_state()
        self.seen.append((batch_idx, tuple(batch.ids), torch.rand(1).item()))
        torch.random.set_rng_state(state)
        if batch_idx == self.dies_at:
            raise Interrupted
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("dies_at", [3, 6, 11, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5, 9))])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, monkeypatch, dies_at):
    """Wherever a run dies, it goes on with the records and the noise it would have had, to the same weights."""
    monkeypatch.setattr("hycam_exp.training.fit.FineTuning", Watched)
    # 6 optimiser steps of two micro-batches over two epochs; a validation every second step.
    run = run_of(
        tmp_path, "method=hycam", "recipe.epochs=2", "trainer.micro_batch_size=4", "trainer.checkpoint_every_steps=1",
        "recipe.validations_per_epoch=2",
    )  # fmt: skip
    data = fold(train=24)
    monkeypatch.setattr(Watched, "seen", [])
    model, undisturbed = trained(tmp_path / "whole", run, data)
    whole = list(Watched.seen)
    assert [step for step, _, _ in whole] == list(range(12))

    monkeypatch.setattr(Watched, "seen", [])
    monkeypatch.setattr(Watched, "dies_at", dies_at)
    with pytest.raises(Interrupted):
        trained(tmp_path / "parts", run, data)
    first = Watched.seen[:-1]
    monkeypatch.setattr(Watched, "seen", [])
    monkeypatch.setattr(Watched, "dies_at", None)
    resumed, result = trained(tmp_path / "parts", run, data)
    start = Watched.seen[0][0]
    assert start == dies_at - dies_at % 2  # nothing but the unfinished step is done again
    assert first[:start] + Watched.seen == whole
    for p, q in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
    assert replace(result, seconds=0) == replace(undisturbed, seconds=0)


def test_resume_never_starts_again(tmp_path, monkeypatch):
    """With resume=never a checkpoint is not gone on from."""
    monkeypatch.setattr("hycam_exp.training.fit.FineTuning", Watched)
    run = run_of(tmp_path, "method=lora", "trainer.checkpoint_every_steps=1", "recipe.epochs=3")
    trained(tmp_path, run)
    monkeypatch.setattr(Watched, "seen", [])
    trained(tmp_path, replace(run, resume="never"))
    assert Watched.seen[0][0] == 0


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    """The error names the optimiser step, the batch's records and the learning rate."""
    settings = (
        "recipe.warmup_ratio=0",
        "recipe.learning_rate=1e300",
        "recipe.clip=null",
        "recipe.validations_per_epoch=1",
    )
    run = run_of(tmp_path, "method=full_ft", *settings)
    with pytest.raises(NonFiniteLossError, match=r"step 1 with learning rate 5e\+299, on records r\d+"):
        trained(tmp_path, run)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    """With a finite loss, too: no record could hold it."""
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(NonFiniteLossError, match=r"the gradient's norm is inf at optimiser step 1 with learning rate"):
        trained(tmp_path, run_of(tmp_path, "method=full_ft"))


def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    """Rather than end training as if it had stopped early."""
    monkeypatch.setattr(
        FineTuning, "validation_step", lambda self, *_: self._validation.update(nats=math.nan, targets=1)
    )
    with pytest.raises(NonFiniteLossError, match=r"the validation loss is nan at optimiser step \d+"):
        trained(tmp_path, run_of(tmp_path, "method=full_ft"))


def test_the_seed_of_a_step_depends_on_seed_step_and_rank():
    """Any other seed, micro-step or rank gives other randomness; the same gives the same."""
    seeds = {step_seed(s, m, r) for s in range(3) for m in range(3) for r in range(3)}
    assert len(seeds) == 27
    assert step_seed(1, 2, 0) == step_seed(1, 2, 0)


def test_mixed_precision_trains_float32_adapters_over_bfloat16_weights(tmp_path):
    """Under bf16_mixed the frozen weights stay bfloat16, the trained ones are float32, and both losses are finite."""
    run = run_of(tmp_path, "method=hycam", "recipe.precision=bf16_mixed")
    model, result = trained(tmp_path, run, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert result.train_curve[-1]["loss"] < 20


def test_the_gradient_norm_is_recorded_before_clipping(tmp_path):
    """The curve's norm is the whole gradient's, also where it is clipped to less."""
    data = fold(train=8)
    run = run_of(tmp_path, "method=full_ft", "recipe.clip=1e-3")
    _, result = trained(tmp_path, run, data)
    reference = copy.deepcopy(tiny("llama")).train()
    torch.cat([_slow_nats(reference, row) for row in data.train]).mean().backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in reference.parameters()]).item()
    assert result.train_curve[0]["gradient_norm"] == pytest.approx(norm, rel=1e-9)


@pytest.mark.parametrize("recipe", ["mini", "paper"])
@pytest.mark.parametrize("num_steps", [1, 44, 3000])
def test_no_step_of_a_recipe_is_wasted(recipe, num_steps):
    """Of w steps of warm-up step k has k / w of the rate, from k = 1; it falls from there on, and never to 0."""
    warmup = round(compose(f"recipe={recipe}").recipe.warmup_ratio * num_steps)
    factors = [rate_factor(step, warmup, num_steps) for step in range(num_steps)]
    assert factors[:warmup] == [k / warmup for k in range(1, warmup + 1)]
    assert factors[warmup] == 1
    assert all(a > b > 0 for a, b in pairwise(factors[warmup:]))


def test_curve_has_the_learning_rate_that_each_step_used(tmp_path):
    """Step k of a warm-up of two has k halves of the rate; then a cosine down, of which the last step is above 0."""
    run = run_of(tmp_path, "method=lora", "recipe.epochs=2", "recipe.warmup_ratio=0.5")
    _, result = trained(tmp_path, run)
    expected = [0.005, 0.01, 0.01, 0.005]
    assert [row["learning_rate"] for row in result.train_curve] == pytest.approx(expected)
    assert [row["step"] for row in result.train_curve] == [1, 2, 3, 4]
