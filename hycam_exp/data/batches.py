"""Batches padded to their longest member, and the order in which training sees them.

The order is a pure function of seed and epoch, and micro-step k of a run is computed from k alone: a run that is
interrupted goes on with exactly the batches that it would have seen.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hycam_exp.data.pace import Pace
from hycam_exp.data.tokens import Tokens

IGNORE = -100
POOL_WINDOWS = 50  # records are sorted by length inside pools of so many windows


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


@dataclass(frozen=True)
class Schedule:
    """Which records are in which micro-batch of which optimiser step, for all epochs and ranks.

    A window, the records of one optimiser step, is cut into `accumulation` micro-batches a rank; a micro-batch can be
    empty. `pace` has the sizes.
    """

    lengths: Sequence[int]
    global_batch_size: int
    micro_batch_size: int
    epochs: int
    seed: int
    world_size: int = 1

    @cached_property
    def pace(self) -> Pace:
        """The sizes of its windows and micro-batches."""
        return Pace(self.global_batch_size, self.micro_batch_size, self.world_size)

    @cached_property
    def accumulation(self) -> int:
        """Micro-batches of one rank in an optimiser step."""
        return self.pace.accumulation

    @cached_property
    def windows_per_epoch(self) -> int:
        return self.pace.windows(len(self.lengths))

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run, were it not stopped early."""
        return self.windows_per_epoch * self.epochs

    def windows(self, epoch: int) -> list[list[int]]:
        """The windows of an epoch: every record once, records of similar length together, in shuffled order."""
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        pool = POOL_WINDOWS * self.global_batch_size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        # Up and down in turn: a window that lies across two pools then holds similar lengths, too.
        grouped = [
            i for n, part in enumerate(pools) for i in sorted(part, key=lambda i: self.lengths[i], reverse=n % 2 == 1)
        ]
        windows = _even_parts(grouped, self.windows_per_epoch)
        rng.shuffle(windows)
        return windows

    def micro_batches(self, window: Sequence[int], rank: int = 0) -> list[list[int]]:
        """One rank's micro-batches of a window; the ranks' together hold each record once."""
        return _even_parts(window, self.accumulation * self.world_size)[rank :: self.world_size]


class MicroBatches(torch.utils.data.Dataset[Batch]):
    """Micro-step k of a run as a batch, over all its epochs."""

    def __init__(
        self, rows: Sequence[Tokens], schedule: Schedule, pad_id: int, loss_on: str, rank: int = 0, at_least: int = 0
    ) -> None:
        self.rows, self.schedule, self.pad_id, self.loss_on, self.rank = rows, schedule, pad_id, loss_on, rank
        self.at_least = at_least
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

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
        members = [self.rows[i] for i in self.schedule.micro_batches(window, self.rank)[micro]]
        targets = sum(self.rows[i].num_targets(self.loss_on) for i in window)
        if members:
            return collate(members, self.pad_id, self.loss_on, window_targets=targets, at_least=self.at_least)
        # Every rank needs a forward and a backward in every micro-step: one record that counts for nothing.
        return filler(collate([self.rows[window[0]]], self.pad_id, self.loss_on, window_targets=targets))


class FromStep(torch.utils.data.Sampler[int]):
    """Micro-steps from `start` on; its length is that of the whole run, as Lightning's resumed loop expects."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))
