"""How many records an optimiser step, a micro-batch and the stretch between two validations have. No torch."""

import math
from dataclasses import dataclass
from functools import cached_property

from hycam_exp.config.settings import RecipeSettings, TrainerSettings


@dataclass(frozen=True)
class Pace:
    """What recipe and trainer make of a number of records; `batches.Schedule` says which record is where.

    A window is the records of one optimiser step: `global_batch_size` of them, or evenly one less where the number
    of records does not divide.
    """

    global_batch_size: int
    micro_batch_size: int
    world_size: int = 1

    @classmethod
    def of(cls, recipe: RecipeSettings, trainer: TrainerSettings) -> "Pace":
        """That of a run; no micro-batch is larger than a step."""
        micro = min(trainer.micro_batch_size, recipe.global_batch_size)
        return cls(recipe.global_batch_size, micro, trainer.world_size)

    @cached_property
    def accumulation(self) -> int:
        """Micro-batches of one rank in an optimiser step."""
        return math.ceil(self.global_batch_size / (self.micro_batch_size * self.world_size))

    @property
    def rows(self) -> int:
        """Of the largest micro-batch: a window is cut evenly."""
        return math.ceil(self.global_batch_size / (self.accumulation * self.world_size))

    def windows(self, records: int) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(records / self.global_batch_size)

    def validation_interval(self, records: int, validations_per_epoch: int) -> int:
        """Optimiser steps between two validations."""
        return max(1, self.windows(records) // validations_per_epoch)
