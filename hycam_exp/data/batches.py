"""Steps and batches: which records an optimiser step has, how it is cut into micro-batches, and these as tensors.

A step is a random draw of the mix: the next `global_batch_size` records of the epoch's shuffled order. Inside a step
alone records are ordered by length and cut so that padding is least. The order is a pure function of seed and epoch,
and micro-step k of a run is computed from k alone: a run that is interrupted goes on with exactly the batches that it
would have seen. torch is imported by what makes tensors, so that a plan reads the sizes without it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hycam_exp.config.settings import RecipeSettings, TrainerSettings
from hycam_exp.data.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = -100


@dataclass(frozen=True)
class StepSizes:
    """What recipe and trainer make of a number of records; `Schedule` says which record is where.

    A window is the records of one optimiser step: `global_batch_size` of them, or evenly one less where the number
    of records does not divide.
    """

    global_batch_size: int
    micro_batch_size: int
    world_size: int = 1

    @classmethod
    def of(cls, recipe: RecipeSettings, trainer: TrainerSettings) -> StepSizes:
        """The sizes of a run; no micro-batch is larger than a step."""
        micro = min(trainer.micro_batch_size, recipe.global_batch_size)
        return cls(recipe.global_batch_size, micro, trainer.world_size)

    @cached_property
    def accumulation(self) -> int:
        """Micro-batches of one rank in an optimiser step."""
        return math.ceil(self.global_batch_size / (self.micro_batch_size * self.world_size))

    @property
    def rows(self) -> int:
        """So many rows of the longest length are the most that a micro-batch holds; of shorter rows it may hold more.

        At most `micro_batch_size`: a window of the longest rows alone is cut evenly.
        """
        return math.ceil(self.global_batch_size / (self.accumulation * self.world_size))

    def windows(self, records: int) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(records / self.global_batch_size)

    def validation_interval(self, records: int, validations_per_epoch: int) -> int:
        """Optimiser steps between two validations."""
        return max(1, self.windows(records) // validations_per_epoch)


@dataclass
class Batch:
    """Padded records; `window_targets` counts the scored tokens of the whole optimiser step it belongs to."""

    ids: list[str]
    input_ids: Tensor  # (B, L)
    attention_mask: Tensor  # (B, L)
    labels: Tensor  # (B, L), IGNORE where nothing is scored
    window_targets: int = 0
    tasks: tuple[str, ...] = ()


def collate(
    rows: Sequence[Tokens], pad_id: int, loss_on: str, side: str = "right", window_targets: int = 0, at_least: int = 0
) -> Batch:
    """The rows as one batch; padding is told by the mask, never by the id, so a pad id may equal EOS."""
    import torch

    length = max(at_least, *(len(row.input_ids) for row in rows))
    shape = (len(rows), length)
    input_ids, mask = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORE)
    for index, row in enumerate(rows):
        ids = torch.tensor(row.input_ids)
        start = 0 if side == "right" else length - len(ids)
        first = len(ids) - row.num_targets(loss_on)
        input_ids[index, start : start + len(ids)] = ids
        mask[index, start : start + len(ids)] = 1
        labels[index, start + first : start + len(ids)] = ids[first:]
    return Batch([row.id for row in rows], input_ids, mask, labels, window_targets, tuple(row.task for row in rows))


def filler(batch: Batch) -> Batch:
    """A batch of the same shape that counts for nothing: for a rank that has none where others have one."""
    import torch

    nothing = torch.full_like(batch.labels, IGNORE)
    return Batch([], batch.input_ids, batch.attention_mask, nothing, batch.window_targets)


def by_length(rows: Sequence[Tokens], batch_size: int) -> list[list[Tokens]]:
    """Batches of similar length, longest first (so that memory runs out at once or never)."""
    ordered = sorted(rows, key=lambda row: (-len(row.input_ids), row.task, row.id))
    return [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]


def _even_parts(items: Sequence[int], parts: int) -> list[list[int]]:
    """Contiguous parts whose sizes differ by at most one."""
    edges = [len(items) * i // parts for i in range(parts + 1)]
    return [list(items[a:b]) for a, b in itertools.pairwise(edges)]


def least_padding(lengths: Sequence[int], parts: int, most: int) -> list[int]:
    """The ends of the contiguous parts, at most so many of `most` padded tokens each, that hold the fewest in all.

    `lengths` fall, so a part is as wide as its first row. Dynamic programming over (parts, rows); one part more never
    costs, so there are `parts` of them, or one a row. Of equally good cuts the one with the longest first parts.
    """
    size = len(lengths)
    parts = min(parts, size)
    best: list[float] = [math.inf] * size + [0.0]  # of the rows from i on, in as many parts as were allowed so far
    ends: list[list[int]] = []
    for left in range(1, parts + 1):
        following, best, end = best, [math.inf] * size + [math.inf], [0] * size
        for i in range(size - left, -1, -1):
            for j in range(min(i + most // lengths[i], size - left + 1), i, -1):
                if lengths[i] * (j - i) + following[j] < best[i]:
                    best[i], end[i] = lengths[i] * (j - i) + following[j], j
        ends.insert(0, end)
    assert best[0] < math.inf, f"{size} rows of up to {lengths[0]} tokens fit no {parts} parts of {most}"
    return list(itertools.accumulate(ends, lambda start, end: end[start], initial=0))[1:]


def _entropy(tasks: Sequence[str]) -> float:
    """The entropy of a draw's tasks, in nats."""
    return -math.fsum(n / len(tasks) * math.log(n / len(tasks)) for n in Counter(tasks).values())


@dataclass(frozen=True)
class Schedule:
    """Which records are in which micro-batch of which optimiser step, for all epochs and ranks.

    A window, the records of one optimiser step, is cut into `accumulation` micro-batches a rank, of uneven numbers of
    rows; none holds more than `StepSizes.rows` rows of `max_length` tokens would, padding included. A window of fewer
    records than micro-batches leaves the last ones empty.
    """

    lengths: Sequence[int]
    max_length: int
    global_batch_size: int
    micro_batch_size: int
    epochs: int
    seed: int
    world_size: int = 1

    @cached_property
    def sizes(self) -> StepSizes:
        """The sizes of its windows and micro-batches."""
        return StepSizes(self.global_batch_size, self.micro_batch_size, self.world_size)

    @cached_property
    def accumulation(self) -> int:
        """Micro-batches of one rank in an optimiser step."""
        return self.sizes.accumulation

    @cached_property
    def windows_per_epoch(self) -> int:
        return self.sizes.windows(len(self.lengths))

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run, were it not stopped early."""
        return self.windows_per_epoch * self.epochs

    def windows(self, epoch: int) -> list[list[int]]:
        """The windows of an epoch: every record once, in shuffled order, their sizes differing by at most one."""
        order = list(range(len(self.lengths)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        edges = [len(order) * i // self.windows_per_epoch for i in range(self.windows_per_epoch + 1)]
        return [order[start:end] for start, end in itertools.pairwise(edges)]

    def micro_batches(self, window: Sequence[int], rank: int = 0) -> list[list[int]]:
        """One rank's micro-batches of a window, longest rows first; the ranks' together hold each record once.

        At every micro-step the ranks have neighbours in length, the longer ones in turn.
        """
        rows = sorted(window, key=lambda i: (-self.lengths[i], i))
        most, total = self.sizes.rows * self.max_length, self.accumulation * self.world_size
        ends = least_padding([self.lengths[i] for i in rows], total, most)
        parts = [rows[start:end] for start, end in itertools.pairwise([0, *ends])]
        parts += [[]] * (total - len(parts))
        steps = [parts[start : start + self.world_size] for start in range(0, total, self.world_size)]
        return [step[rank] if number % 2 == 0 else step[-1 - rank] for number, step in enumerate(steps)]

    def step_task_entropy(self, tasks: Sequence[str], steps: int) -> float | None:
        """The mean entropy of the tasks of the first `steps` windows over that of the mix; None for a single task.

        1 were every step the mix in small; a random draw of 16 from five even tasks has 0.92.
        """
        whole = _entropy(tasks)
        if whole == 0:
            return None
        epochs = range(math.ceil(steps / self.windows_per_epoch))
        drawn = itertools.islice(itertools.chain.from_iterable(map(self.windows, epochs)), steps)
        return math.fsum(_entropy([tasks[i] for i in window]) for window in drawn) / steps / whole


class MicroBatches:
    """Micro-step k of a run as a batch, over all its epochs."""

    def __init__(
        self, rows: Sequence[Tokens], schedule: Schedule, pad_id: int, loss_on: str, rank: int = 0, at_least: int = 0
    ) -> None:
        self.rows, self.schedule, self.pad_id, self.loss_on, self.rank = rows, schedule, pad_id, loss_on, rank
        self.at_least = at_least
        self._epoch: tuple[int, list[list[int]]] = (-1, [])
        self._step: tuple[int, list[list[int]]] = (-1, [])

    def __len__(self) -> int:
        return self.schedule.num_steps * self.schedule.accumulation

    def __getitem__(self, micro_step: int) -> Batch:
        if not 0 <= micro_step < len(self):
            raise IndexError(micro_step)
        step, micro = divmod(micro_step, self.schedule.accumulation)
        epoch, index = divmod(step, self.schedule.windows_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.schedule.windows(epoch))
        window = self._epoch[1][index]
        if self._step[0] != step:
            self._step = (step, self.schedule.micro_batches(window, self.rank))
        members = [self.rows[i] for i in self._step[1][micro]]
        targets = sum(self.rows[i].num_targets(self.loss_on) for i in window)
        if members:
            return collate(members, self.pad_id, self.loss_on, window_targets=targets, at_least=self.at_least)
        # Every rank needs a forward and a backward in every micro-step: one record that counts for nothing.
        shortest = min(window, key=lambda i: (self.schedule.lengths[i], i))
        return filler(collate([self.rows[shortest]], self.pad_id, self.loss_on, window_targets=targets))


class FromStep:
    """Micro-steps from `start` on; its length is that of the whole run, as Lightning's resumed loop expects."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))
