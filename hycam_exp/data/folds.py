"""One fold as token ids: records, capped, split, tokenised, and weighted by task."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hycam_exp.data import splits
from hycam_exp.data.records import Record, digest
from hycam_exp.data.token_table import TokenTable, token_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hycam_exp.config.settings import DataSettings


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The tokens of the three parts, the split's digest, and the records that had no room for a response."""

    train: TokenTable
    """What an epoch trains on: every record once, or as often as its task's weight says."""
    validation: TokenTable
    test: TokenTable
    digest: str
    too_long: list[Record]

    @property
    def parts(self) -> dict[str, TokenTable]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def gaps(self, tasks: Sequence[str]) -> list[str]:
        """A sentence for each task that a part has no record of: it is then not trained, validated or tested."""
        without = {name: sorted(set(tasks) - {row.task for row in part}) for name, part in self.parts.items()}
        lost = Counter(record.task for record in self.too_long)
        return [
            f"{task} has no {name} record; {lost[task]} of its records are too long"
            for name, empty in without.items()
            for task in empty
        ]


def fold_of(
    records: Sequence[Record], fold: int, data: "DataSettings", tokenizer: "PreTrainedTokenizerBase", cache: Path
) -> Fold:
    """Fold `fold` of the records under the mix's cap, grouping, template, length and weights.

    All records are tokenised at once, into a file in `cache` that the other folds find there.

    Raises:
        ValueError: a task's groups cannot be cut 7:2:1, or a part is left without records; says why.
    """
    chosen = splits.capped(records, data.max_per_task, data.group, data.split_seed)
    splits.require_shares(chosen, data.group, data.split_seed)
    split = splits.split(chosen, fold, data.group, data.split_seed)
    table = token_table(chosen, tokenizer, data.prompt, data.max_length, cache)
    rows: dict[str, TokenTable] = {}
    too_long: list[Record] = []
    for name in ("train", "validation", "test"):
        lost = [r for r in getattr(split, name) if r.id in table.without_response]
        kept = [r for r in getattr(split, name) if r.id not in table.without_response]
        if not kept:
            reason = (
                f"all {len(lost)} are too long for data.max_length={data.max_length}" if lost else "too few records"
            )
            raise ValueError(f"data={data.name}: the {name} part of fold {fold} is empty: {reason}")
        if name == "train":
            kept = weighted(kept, data.weights or {}, data.split_seed)
        rows[name] = table.select(r.id for r in kept)
        too_long += lost
    return Fold(**rows, digest=split.digest, too_long=too_long)


def weighted(records: Sequence[Record], weights: Mapping[str, float], split_seed: int) -> list[Record]:
    """The records that an epoch trains on: a task of weight 2.5 comes twice, and half of it once more.

    The part is chosen by content, not by row order; at least one record of each task stays.
    """
    drawn: list[Record] = []
    for task in sorted({r.task for r in records}):
        of_task = [r for r in records if r.task == task]
        if task in weights:
            of_task.sort(key=lambda r: digest(r.id, str(split_seed)))
        count = max(1, round(weights.get(task, 1) * len(of_task)))
        drawn += [of_task[i % len(of_task)] for i in range(count)]
    return drawn
