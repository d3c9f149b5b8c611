"""Lightning's view of the data: which loader, from which step. Wiring only."""

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from hycam_exp.data.batches import Batch, FromStep, MicroBatches, Schedule, by_length, collate, filler
from hycam_exp.data.folds import Fold
from hycam_exp.runtime import ranks


class FoldData(LightningDataModule):
    """This rank's training and validation batches of one fold.

    Lightning neither skips the batches that a resumed run has seen nor knows where it was: the position is derived
    from the optimiser step, since checkpoints are taken between optimiser steps only.
    """

    def __init__(
        self, fold: Fold, schedule: Schedule, batch_size: int, pad_id: int, loss_on: str, pad_to: int = 0
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.train = MicroBatches(fold.train, schedule, pad_id, loss_on, ranks.rank(), at_least=pad_to)
        own = ranks.share(by_length(fold.validation, batch_size))
        batches = [(collate(rows, pad_id, loss_on), counts) for rows, counts in own]
        self.validation = [batch if counts else filler(batch) for batch, counts in batches]

    def train_dataloader(self) -> DataLoader[Batch]:
        start = self.trainer.global_step * self.schedule.accumulation if self.trainer else 0
        sampler = FromStep(start, len(self.train))
        return DataLoader(self.train, batch_size=None, sampler=sampler)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.validation, batch_size=None, shuffle=False)  # type: ignore[arg-type]
