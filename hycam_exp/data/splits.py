"""Folds: groups of records in ten blocks by hash; fold f tests on one block, validates on two, trains on seven.

Standard library only. See: DESIGN decision 6 (the paper's 7:2:1 and five folds, with disjoint test sets).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hycam_exp.data.records import Record, digest

NUM_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts of one fold."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]

    @property
    def digest(self) -> str:
        """A hash of who is where: it changes when, and only when, membership changes."""
        parts = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return digest(*(f"{name} {r.task} {r.id}" for name, part in parts for r in sorted(part, key=_key)))


def _key(record: Record) -> tuple[str, str]:
    return record.task, record.id


def _groups(records: Sequence[Record], group: str, split_seed: int) -> list[tuple[str, list[Record]]]:
    """The groups of one task's records with their hash, in order of the hash."""
    members: dict[str, list[Record]] = {}
    for record in sorted(records, key=_key):
        members.setdefault(record.group if group == "prompt" else record.id, []).append(record)
    hashed = (
        (digest(group_records[0].task, name, str(split_seed)), group_records) for name, group_records in members.items()
    )
    return sorted(hashed, key=lambda pair: pair[0])


def capped(records: Sequence[Record], limit: int | None, group: str, split_seed: int) -> list[Record]:
    """At most `limit` records of each task: groups in order of their hash, so that row order decides nothing."""
    if limit is None:
        return list(records)
    kept: list[Record] = []
    for task in sorted({r.task for r in records}):
        of_task = [r for r in records if r.task == task]
        kept += [r for _, members in _groups(of_task, group, split_seed) for r in members][:limit]
    return kept


def blocks(records: Sequence[Record], group: str, split_seed: int) -> list[list[Record]]:
    """Ten blocks of one task's records: the largest group first, each into the smallest block so far."""
    parts: list[list[Record]] = [[] for _ in range(NUM_BLOCKS)]
    for _, members in sorted(_groups(records, group, split_seed), key=lambda pair: (-len(pair[1]), pair[0])):
        min(parts, key=len).extend(members)
    return parts


def split(records: Sequence[Record], fold: int, group: str, split_seed: int) -> Split:
    """Fold `fold` of every task in `records`, each split on its own.

    Tests on block 2f, validates on blocks 2f+1 and 2f+3 (mod 10): validation blocks are odd, so that no choice made
    on validation data of any fold has seen a test block.
    """
    result = Split([], [], [])
    for task in sorted({r.task for r in records}):
        parts = blocks([r for r in records if r.task == task], group, split_seed)
        validation = {(2 * fold + 1) % NUM_BLOCKS, (2 * fold + 3) % NUM_BLOCKS}
        for index, part in enumerate(parts):
            target = result.test if index == 2 * fold else result.validation if index in validation else result.train
            target.extend(part)
    return result
