"""One fold as token ids: records, capped, split and tokenised."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hycam_exp.data import splits
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hycam_exp.config import DataSettings


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The tokens of the three parts, the split's digest, and the records that had no room for a response."""

    train: list[Tokens]
    validation: list[Tokens]
    test: list[Tokens]
    digest: str
    too_long: list[Record]

    @property
    def parts(self) -> dict[str, list[Tokens]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def fold_of(records: list[Record], fold: int, data: "DataSettings", tokenizer: "PreTrainedTokenizerBase") -> Fold:
    """Fold `fold` of the records under the mix's cap, grouping, template and length.

    Raises:
        ValueError: a part is left without records; says why.
    """
    chosen = splits.capped(records, data.max_per_task, data.group, data.split_seed)
    split = splits.split(chosen, fold, data.group, data.split_seed)
    rows: dict[str, list[Tokens]] = {}
    too_long: list[Record] = []
    for name in ("train", "validation", "test"):
        part = getattr(split, name)
        rows[name], lost = tokenise(part, tokenizer, data.prompt, data.max_length)
        too_long += lost
        if not rows[name]:
            reason = (
                f"all {len(lost)} are too long for data.max_length={data.max_length}" if lost else "too few records"
            )
            raise ValueError(f"data={data.name}: the {name} part of fold {fold} is empty: {reason}")
    return Fold(**rows, digest=split.digest, too_long=too_long)
