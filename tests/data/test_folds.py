"""A fold as tokens: the split's parts, and what had no room."""

import pytest
from transformers import PreTrainedTokenizerFast

from hycam_exp.config import DataSettings
from hycam_exp.data import splits
from hycam_exp.data.folds import fold_of
from hycam_exp.data.records import Record, identified
from hycam_exp.data.tokens import tokenise

PARTS = ("train", "validation", "test")


def settings(**changes: object) -> DataSettings:
    values = {
        "name": "toy", "tasks": ["dolly"], "root": None, "fields": None, "max_per_task": None, "prompt": "alpaca",
        "max_length": 400, "loss_on": "response", "group": "prompt", "split_seed": 0,
    }  # fmt: skip
    return DataSettings(**{**values, **changes})


def records(count: int, long: int = 0, task: str = "dolly") -> list[Record]:
    """So many records, the last `long` of them with a prompt of more than 400 characters."""
    texts = [f"Question {i}?" + " please" * (60 if i >= count - long else 0) for i in range(count)]
    return identified(Record(task=task, instruction=t, input="", output="yes", group=t) for t in texts)


@pytest.mark.parametrize("fold", range(5))
def test_parts_are_the_splits(letters: PreTrainedTokenizerFast, fold: int) -> None:
    """Train, validation and test are the tokens of the split's parts, under the split's digest."""
    mix = records(30) + records(20, task="web_gpt")
    found, split = fold_of(mix, fold, settings(), letters), splits.split(mix, fold, "prompt", 0)
    assert found.parts == {name: tokenise(getattr(split, name), letters, "alpaca", 400)[0] for name in PARTS}
    assert found.parts == {name: getattr(found, name) for name in PARTS}
    assert (found.digest, found.too_long) == (split.digest, [])


@pytest.mark.parametrize(("change", "moves"), [({"split_seed": 1}, True), ({"max_length": 399}, False)])
def test_digest_is_of_the_split_alone(letters: PreTrainedTokenizerFast, change: dict, moves: bool) -> None:
    """The split's seed moves records, and the digest with them; a length moves none."""
    first, second = (fold_of(records(30), 0, settings(**c), letters) for c in ({}, change))
    assert (first.digest != second.digest) is moves


def test_cap_leaves_records_out_before_the_split(letters: PreTrainedTokenizerFast) -> None:
    """A capped fold is the fold of the capped records."""
    mix = records(50)
    capped = splits.capped(mix, 20, "prompt", 3)
    whole, part = settings(split_seed=3, max_per_task=20), settings(split_seed=3)
    assert fold_of(mix, 1, whole, letters) == fold_of(capped, 1, part, letters)


def test_records_without_room_are_named(letters: PreTrainedTokenizerFast) -> None:
    """A record whose prompt fills max_length is in no part, and in `too_long`."""
    mix = records(40, long=5)
    found = fold_of(mix, 0, settings(), letters)
    kept = {row.id for part in found.parts.values() for row in part}
    assert {r.id for r in found.too_long} == {r.id for r in mix if len(r.instruction) > 400}
    assert kept | {r.id for r in found.too_long} == {r.id for r in mix}
    assert not kept & {r.id for r in found.too_long}


def test_part_of_too_long_records_is_refused(letters: PreTrainedTokenizerFast) -> None:
    """Where no record of a part has room, the error names mix, part, fold and length."""
    with pytest.raises(ValueError, match=r"data=toy: the train part of fold 2 is empty: all 14 .* data.max_length=400"):
        fold_of(records(20, long=20), 2, settings(), letters)


def test_too_few_records_are_refused(letters: PreTrainedTokenizerFast) -> None:
    """Where a part has no record at all, the error says that there are too few."""
    one_group = [Record(task="dolly", instruction="q", input="", output=str(i), group="q") for i in range(30)]
    with pytest.raises(ValueError, match=r"the (train|validation|test) part of fold 0 is empty: too few records"):
        fold_of(identified(one_group), 0, settings(), letters)
