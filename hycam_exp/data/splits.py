"""Folds: groups of records in ten blocks by hash; fold f tests on one block, validates on two, trains on seven.

Standard library only. See: DESIGN decision 6 (the paper's 7:2:1 and five folds, with disjoint test sets).
"""

import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hycam_exp.data.records import Record, digest

NUM_BLOCKS = 10
FOLDS = 5
SHARES = (0.7, 0.2, 0.1)
"""Of training, validation and test: the paper's 7:2:1."""
TOLERANCE = 0.15
"""How far a part may be from its share of a task's records. Groups of one size miss it by at most 0.13 (14 of them, a
tenth of which is no whole number); one group of a quarter of the records is the largest that passes."""
ROUNDING = 2
"""So many records a part may always be off: of fewer than fourteen, a tenth and a record are much the same."""


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


def require_shares(records: Sequence[Record], group: str, split_seed: int) -> None:
    """Raise a `ValueError` where a task's groups are too large to be cut 7:2:1, in any of the five folds.

    Raises:
        ValueError: a part of a fold is further than `TOLERANCE` of the task's records (and than `ROUNDING` records)
            from its share; names the parts, the largest group, and the ways out.
    """
    for task in sorted({r.task for r in records}):
        of_task = [r for r in records if r.task == task]
        allowed = max(TOLERANCE * len(of_task), ROUNDING)
        for fold in range(FOLDS):
            found = split(of_task, fold, group, split_seed)
            sizes = [len(found.train), len(found.validation), len(found.test)]
            meant = [share * len(of_task) for share in SHARES]
            if any(abs(size - wanted) > allowed for size, wanted in zip(sizes, meant, strict=True)):
                raise ValueError(_uneven(of_task, fold, group, sizes))


def _uneven(records: Sequence[Record], fold: int, group: str, sizes: Sequence[int]) -> str:
    """What a task's split would be, and why it is refused."""
    counts = Counter(record.group if group == "prompt" else record.id for record in records)
    (name, largest), task = counts.most_common(1)[0], records[0].task
    return (
        f"{task}: fold {fold} would train, validate, test on {'/'.join(map(str, sizes))} of {len(records):,} records,"
        f" further than {TOLERANCE:.0%} of them from 7:2:1, since a group stays in one part: there are {len(counts):,}"
        f" groups, and the largest ({reprlib.repr(name)}) has {largest:,} records;"
        f" another field for data.fields.{task}.group (null: the prompt), or data.group=none, makes smaller ones"
    )
