"""What a run leaves on disk to be gone on from, and its best weights; both hold what is trained, nothing frozen."""

import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from torch import nn

from hycam_exp.data.batches import Batch
from hycam_exp.runtime import interruption, ranks
from hycam_exp.runtime.files import is_intact, sealing, share
from hycam_exp.training import strategies

LAST, BEST = "last.ckpt", "best.safetensors"


class Checkpoints(Callback):
    """Keeps `last.ckpt`, to resume from, and `best.safetensors`, the trained weights of the best validation.

    Saved when the next micro-batch starts: then the step before it, its validation included, is wholly done.
    """

    def __init__(self, folder: Path, every_steps: int, accumulation: int) -> None:
        self.folder, self.every_steps, self.accumulation = folder, every_steps, accumulation
        self.best_loss, self.best_step = math.inf, 0
        self._saved_step = 0
        self._validated = False

    @property
    def last(self) -> Path:
        return self.folder / LAST

    @property
    def best(self) -> Path:
        return self.folder / BEST

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Save where it is time.

        Raises:
            Interrupted: a rank was told to end during the step that is now saved.
        """
        steps, ends = trainer.global_step - self._saved_step, pl_module.ends_here
        if batch_idx % self.accumulation == 0 and steps and (ends or self._validated or steps >= self.every_steps):
            self._save(trainer)
            self._saved_step, self._validated = trainer.global_step, False
        if ends:
            raise interruption.Interrupted(interruption.received() or signal.SIGTERM)

    def _save(self, trainer: Trainer) -> None:
        temporary = self.last.with_suffix(".part")
        if ranks.is_first() and temporary.is_dir():
            shutil.rmtree(temporary)  # of an attempt that was killed
        ranks.barrier()
        trainer.save_checkpoint(temporary)
        ranks.barrier()
        if ranks.is_first():
            with sealing(self.last, temporary):
                put_in_place(temporary, self.last)
        ranks.barrier()

    def find(self) -> bool:
        """Whether there is a checkpoint to resume from."""

        def found() -> bool:
            recover(self.last)
            return self.last.exists()

        return ranks.from_first(found)  # or ranks on several hosts may see a folder's state of different moments

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True
        loss = pl_module.validation_curve[-1]["loss"]
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, trainer.global_step
            temporary = self.best.with_suffix(".part")
            state = strategies.whole(pl_module.trained_state())
            if ranks.is_first():
                save_file({k: v.contiguous() for k, v in state.items()}, temporary)
                share(temporary)
                with sealing(self.best, temporary):
                    os.replace(temporary, self.best)


def load_best(model: nn.Module, folder: Path) -> None:
    """Put the best validation's trained weights into the model.

    Raises:
        ValueError: the file is not what was written; the next attempt begins again.
    """
    ranks.barrier()  # the first rank writes them
    if not is_intact(folder / BEST):
        raise ValueError(f"{folder / BEST}: damaged since it was written; the same command trains again")
    state = {name.removeprefix("model."): tensor for name, tensor in load_file(folder / BEST).items()}
    parameters = dict(model.named_parameters())
    unexpected = sorted(set(state) - set(parameters))
    assert not unexpected, f"trained weights that the model does not have: {unexpected}"
    for name, tensor in state.items():
        strategies.fill(parameters[name], tensor)


def set_aside_damaged(folder: Path) -> str | None:
    """Move a training folder away whose checkpoint or best weights are not what was written; says so, or None.

    The two go together: without the best weights so far the checkpoint cannot be gone on from.
    """
    recover(folder / LAST)
    damaged = [path for path in (folder / LAST, folder / BEST) if path.exists() and not is_intact(path)]
    if not damaged:
        return None
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    return f"{damaged[0].name} was damaged: training began again, and what there was lies in {aside.name}"


def put_in_place(new: Path, old: Path) -> None:
    """Let a whole checkpoint take the place of the last; a folder's predecessor is there until it has."""
    if new.is_dir():
        shutil.rmtree(predecessor(old), ignore_errors=True)
        if old.exists():
            old.rename(predecessor(old))
    new.replace(old)
    shutil.rmtree(predecessor(old), ignore_errors=True)


def recover(last: Path) -> None:
    """Bring a predecessor back where a process died between its removal and the successor's arrival."""
    if not last.exists() and predecessor(last).exists():
        predecessor(last).rename(last)


def predecessor(path: Path) -> Path:
    """The name of a checkpoint that is about to be replaced."""
    return path.with_suffix(".old")
