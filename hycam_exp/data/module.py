"""Lightning's view of the data: which loader, from which step. Wiring only."""

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from hycam_exp.data.batches import Batch, FromStep, MicroBatches, Schedule, by_length, collate
from hycam_exp.data.folds import Fold


class FoldData(LightningDataModule):
    """The training and validation batches of one fold.

    Lightning neither skips the batches that a resumed run has seen nor knows where it was: the position is derived
    from the optimiser step, since checkpoints are taken between optimiser steps only.
    """

    def __init__(
        self, fold: Fold, schedule: Schedule, batch_size: int, pad_id: int, loss_on: str, pad_to: int = 0
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.train = MicroBatches(fold.train, schedule, pad_id, loss_on, at_least=pad_to)
        self.validation = [collate(rows, pad_id, loss_on) for rows in by_length(fold.validation, batch_size)]

    def train_dataloader(self) -> DataLoader[Batch]:
        start = self.trainer.global_step * self.schedule.accumulation if self.trainer else 0
        return DataLoader(self.train, batch_size=None, sampler=FromStep(start, len(self.train)))

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.validation, batch_size=None, shuffle=False)  # type: ignore[arg-type]
