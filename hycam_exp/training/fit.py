"""Fine-tuning with Lightning: the module, and one `fit`.

A run is one Lightning epoch over all micro-steps of all passes. What is random in a micro-step is seeded by (seed,
micro-step, rank), and checkpoints are taken between optimiser steps only, so a run that was killed goes on bit for bit.
"""

import hashlib
import logging
import math
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from peft import AdaLoraModel
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

from hycam_exp.config.settings import RecipeSettings, Run
from hycam_exp.data.batches import Batch, Schedule
from hycam_exp.data.module import FoldData
from hycam_exp.methods import auxiliary_loss, task_rows
from hycam_exp.methods.recognition import vectors
from hycam_exp.runtime import interruption, ranks
from hycam_exp.training import strategies
from hycam_exp.training.checkpoints import Checkpoints, load_best
from hycam_exp.training.loss import target_logits, targets, token_nats
from hycam_exp.training.rank_allocation import RankAllocation
from hycam_exp.training.routing_tally import RoutingTally, summary
from hycam_exp.training.strategies import ZeroStrategy

PRECISION = {"float32": "32-true", "bf16_mixed": "bf16-mixed", "float64": "64-true"}
VALIDATION_LOSS = "validation/loss"


class NonFiniteLossError(ValueError):
    """The loss became infinite or NaN; says at which step, on which records and at which learning rate."""


def step_seed(seed: int, micro_step: int, rank: int) -> int:
    """The seed of everything random in one micro-step of one rank."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{micro_step}/{rank}".encode()).digest()[:8], "little") >> 1


def rate_factor(step: int, warmup: int, num_steps: int) -> float:
    """The share of the learning rate after so many steps: k / warmup in step k of the warm-up, then a cosine to 0.

    Neither the first step nor the last has a rate of 0.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, num_steps - warmup)))


class FineTuning(LightningModule):
    """Trains what is trainable in `model`: mean task loss over an optimiser step's target tokens + auxiliary loss."""

    strict_loading = False  # a checkpoint holds what is trained, not the frozen backbone

    def __init__(self, model: nn.Module, recipe: RecipeSettings, num_steps: int, accumulation: int, seed: int) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.num_steps, self.accumulation, self.seed = num_steps, accumulation, seed
        self.train_curve: list[dict[str, float]] = []
        self.validation_curve: list[dict[str, float]] = []
        self.tokens_seen, self.positions_seen = 0, 0
        self.ends_here = False
        """A signal has told a rank to end; all ranks know it after the same step."""
        self.seconds_before = 0.0
        self._started = time.perf_counter()
        self._window = {"nats": 0.0, "auxiliary": 0.0, "tokens": 0, "positions": 0}
        self._validation = {"nats": 0.0, "targets": 0}
        self._tally = RoutingTally(model)
        self.best_routing: list[dict[str, Any]] = []
        """What the router did in the best validation, by layer and task."""
        self._gradient_norm, self._learning_rate = 0.0, 0.0

    def configure_model(self) -> None:
        """Asked for by Lightning under FSDP2; the model was cut up before."""

    def on_train_start(self) -> None:
        interruption.listen_again()
        self.model.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """This micro-batch's share of the step's loss, so that micro-batches and ranks add up to one mean."""
        nats, count = self._task_nats(batch)
        auxiliary = auxiliary_loss(self.model)
        total = nats if auxiliary is None else nats + count * auxiliary
        if not torch.isfinite(total):
            self._refuse(f"the loss is {total.item()}", f", on records {', '.join(batch.ids)}")
        self._window["nats"] += nats.item() / batch.window_targets
        self._window["auxiliary"] += 0.0 if auxiliary is None else auxiliary.item() * count / batch.window_targets
        self._window["tokens"] += int(batch.attention_mask.sum()) if batch.ids else 0
        self._window["positions"] += batch.input_ids.numel()
        # Micro-batches and ranks are averaged; the division by the step's tokens replaces that.
        return total / batch.window_targets * (self.accumulation * ranks.world_size())

    def _task_nats(self, batch: Batch) -> tuple[Tensor, int]:
        with self._autocast(), task_rows(self.model, batch.tasks):
            logits = target_logits(
                self.model, batch.labels, input_ids=batch.input_ids, attention_mask=batch.attention_mask
            )  # (N, V)
        return token_nats(logits, targets(batch.labels)).sum(), len(logits)

    def _autocast(self) -> AbstractContextManager[object]:
        """Autocasting under strategies whose precision plugin leaves it to the module; not a second time inside it."""
        mixed = self.recipe.precision == "bf16_mixed" and not torch.is_autocast_enabled(self.device.type)
        return torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext()

    def _refuse(self, what: str, where: str = "") -> NoReturn:
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        raise NonFiniteLossError(
            f"{what} at optimiser step {self.global_step} with learning rate {rate:.3g}{where}; a lower "
            "recipe.learning_rate or recipe.clip usually helps"
        )

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip to the recipe's norm, and keep norm and learning rate of the step for the curve."""
        self._learning_rate = optimizer.param_groups[0]["lr"]
        if isinstance(self.trainer.strategy, ZeroStrategy):  # it clips while it steps
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        limit = math.inf if self.recipe.clip is None else self.recipe.clip
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        self._gradient_norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if (batch_idx + 1) % self.accumulation == 0:
            self._record_step(batch_idx)
        if batch_idx + 1 == self.num_steps * self.accumulation:
            self.trainer.should_stop = True  # so that the last weights are validated as well

    def _record_step(self, batch_idx: int) -> None:
        signalled = interruption.received() is not None
        nats, auxiliary, tokens, positions, ranks_signalled = ranks.totals(*self._window.values(), signalled)
        self.ends_here = ranks_signalled > 0
        self.tokens_seen += int(tokens)
        self.positions_seen += int(positions)
        if isinstance(self.trainer.strategy, ZeroStrategy):
            self._gradient_norm = self.trainer.strategy.gradient_norm()
        if not math.isfinite(self._gradient_norm):
            self._refuse(f"the gradient's norm is {self._gradient_norm}")
        row: dict[str, float] = {
            "step": self.global_step,
            "loss": nats,
            "auxiliary_loss": auxiliary,
            "learning_rate": self._learning_rate,
            "gradient_norm": self._gradient_norm,
        }
        self.train_curve.append(row)
        self.log_dict({f"train/{k}": v for k, v in row.items() if k != "step"}, prog_bar=False, batch_size=1)
        self.log("loss", row["loss"], prog_bar=True, logger=False, batch_size=1)
        self._window = {"nats": 0.0, "auxiliary": 0.0, "tokens": 0, "positions": 0}

    def on_validation_epoch_start(self) -> None:
        self._validation = {"nats": 0.0, "targets": 0}
        self._tally.sums = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with self._tally.listening(batch):
            nats, count = self._task_nats(batch)
        self._validation["nats"] += nats.double().item()
        self._validation["targets"] += count

    def on_validation_epoch_end(self) -> None:
        nats, count = ranks.totals(*self._validation.values())
        loss = nats / count
        if not math.isfinite(loss):
            self._refuse(f"the validation loss is {loss}")
        self._tally.add_up()
        routing = self._tally.rows()
        if all(loss < row["loss"] for row in self.validation_curve):
            self.best_routing = routing
        self.validation_curve.append({"step": self.global_step, "loss": loss})
        if routing:
            self.log_dict({f"routing/{name}": value for name, value in summary(routing).items()}, batch_size=1)
        self.log(VALIDATION_LOSS, torch.tensor(loss, dtype=torch.float64), prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> Any:
        """AdamW with a cosine schedule after a linear warm-up; no weight decay on vectors (biases, norms)."""
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        spared = vectors(self.model)
        groups = [
            {"params": [p for n, p in trained.items() if n not in spared], "weight_decay": self.recipe.weight_decay},
            {"params": [p for n, p in trained.items() if n in spared], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=self.recipe.learning_rate,
            betas=(self.recipe.betas[0], self.recipe.betas[1]),
            eps=self.recipe.epsilon,
        )
        warmup = round(self.recipe.warmup_ratio * self.num_steps)
        schedule = LambdaLR(optimizer, lambda step: rate_factor(step, warmup, self.num_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def seconds(self) -> float:
        """Seconds of training, those of the attempts that this one goes on from included."""
        return self.seconds_before + time.perf_counter() - self._started

    def trained_state(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """What is trained alone: DeepSpeed, which asks for it, would keep a frozen weight that has two names."""
        state, trained = super().state_dict(*args, **kwargs), self.trained_state()
        for name in [name for name in state if name not in trained]:
            del state[name]
        return state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = strategies.checkpointed(self.trainer.strategy, self.trained_state())
        checkpoint["progress"] = {
            "train_curve": list(self.train_curve),
            "validation_curve": list(self.validation_curve),
            "tokens_seen": self.tokens_seen,
            "positions_seen": self.positions_seen,
            "best_routing": list(self.best_routing),
            "seconds_before": self.seconds(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


class ProgressLines(ProgressBar):
    """A line at every validation where there is no terminal for a bar; ranks but the first print nowhere."""

    def disable(self) -> None:
        """Lightning calls it on these."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FineTuning)
        step, seconds = trainer.global_step, pl_module.seconds()
        left = seconds / step * (pl_module.num_steps - step)
        losses = (
            f"loss {pl_module.train_curve[-1]['loss']:.3f}, validation {pl_module.validation_curve[-1]['loss']:.3f}"
        )
        print(f"step {step}/{pl_module.num_steps}: {losses}, {seconds:.0f} s, at most {left:.0f} s left", flush=True)


@dataclass(frozen=True)
class Fit:
    """What training gave beside the weights."""

    train_curve: list[dict[str, float]]
    validation_curve: list[dict[str, float]]
    best_step: int
    best_validation_loss: float
    stopped_early: bool
    routing: list[dict[str, Any]]
    steps: int
    tokens: int
    padding_share: float
    """Of the positions that were computed: padding, and all of a filler."""
    step_task_entropy: float | None
    """How mixed a step's tasks were (`Schedule.step_task_entropy`)."""
    seconds: float


def fit(model: nn.Module, data: FoldData, run: Run, folder: Path, loggers: list[Logger]) -> Fit:
    """Train `model` in place, from `folder`'s checkpoint if there is one to go on from, and keep the best weights.

    Raises:
        NonFiniteLossError: the loss became infinite or NaN.
        Interrupted: the process was told to end; what is trained is in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    strategies.prepare_training(model, run.trainer)
    if run.trainer.activation_checkpointing:
        checkpoint_activations(model)
    schedule = data.schedule
    module = FineTuning(model, run.recipe, schedule.num_steps, schedule.accumulation, run.seed)
    checkpoints = Checkpoints(folder, run.trainer.checkpoint_every_steps, schedule.accumulation)
    tuner: Any = getattr(model, "base_model", None)
    allocation = (
        [RankAllocation(tuner, schedule.num_steps, schedule.accumulation)] if isinstance(tuner, AdaLoraModel) else []
    )
    trainer = _trainer(run, schedule, [*allocation, checkpoints], folder, loggers)
    resumed = str(checkpoints.last) if run.resume != "never" and checkpoints.find() else None
    with warnings.catch_warnings(), interruption.postponed():
        # Meant for other uses: our loader goes on where it was, and the backbone is put in train mode.
        # It looks for SLURM though it is told where it runs.
        for message in (
            "does not have many workers",
            "dataloader is not resumable",
            "in eval mode at the start",
            "srun. command is available",
        ):
            warnings.filterwarnings("ignore", message=f".*{message}.*")
        # Clipped so; already summed; the adapter is saved whole beside the checkpoints.
        for message in ("Since DeepSpeed handles", ".*sync_dist=True", "When saving the DeepSpeed Stage 3"):
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    load_best(model, folder)
    seconds = module.seconds()
    return Fit(
        train_curve=module.train_curve,
        validation_curve=module.validation_curve,
        best_step=checkpoints.best_step,
        best_validation_loss=checkpoints.best_loss,
        stopped_early=trainer.global_step < schedule.num_steps,
        routing=module.best_routing,
        steps=trainer.global_step,
        tokens=module.tokens_seen,
        padding_share=1 - module.tokens_seen / module.positions_seen,
        step_task_entropy=schedule.step_task_entropy([row.task for row in data.train.rows], trainer.global_step),
        seconds=seconds,
    )


def checkpoint_activations(model: nn.Module) -> None:
    """Recompute activations in the backward pass; not re-entrant, which would lose an auxiliary loss's gradient."""
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _trainer(run: Run, schedule: Schedule, callbacks: list[Callback], folder: Path, loggers: list[Logger]) -> Trainer:
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    recipe, hardware = run.recipe, run.trainer
    plugin = strategies.precision_plugin(hardware)
    is_zero = hardware.strategy.startswith("zero")
    every = schedule.sizes.validation_interval(len(schedule.lengths), recipe.validations_per_epoch)
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=strategies.strategy(hardware),
        precision=None if plugin else PRECISION[recipe.precision],  # type: ignore[arg-type]
        plugins=[strategies.environment(hardware), *([plugin] if plugin else [])],
        gradient_clip_val=(recipe.clip or strategies.NO_CLIPPING) if is_zero else None,
        max_epochs=1,
        accumulate_grad_batches=schedule.accumulation,
        val_check_interval=every * schedule.accumulation,
        callbacks=[
            *callbacks,
            # At every validation: by itself it waits for the epoch's end where a validation follows every micro-batch.
            EarlyStopping(VALIDATION_LOSS, patience=recipe.patience, mode="min", check_on_train_epoch_end=False),
            TQDMProgressBar() if sys.stdout.isatty() else ProgressLines(),
        ],
        logger=loggers,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=hardware.deterministic,
    )
