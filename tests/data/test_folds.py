"""A fold as tokens: the split's parts, their weights, and what had no room."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from hycam_exp.config.settings import DataSettings
from hycam_exp.data import splits
from hycam_exp.data.folds import Fold, fold_of, weighted
from hycam_exp.data.records import Record, identified
from hycam_exp.data.tokens import tokenise

PARTS = ("train", "validation", "test")


def settings(**changes: object) -> DataSettings:
    values = {
        "name": "toy", "tasks": ["dolly"], "root": None, "fields": None, "max_per_task": None, "weights": None,
        "prompt": "alpaca", "max_length": 400, "padding": "longest", "loss_on": "response", "group": "prompt",
        "split_seed": 0,
    }  # fmt: skip
    return DataSettings(**{**values, **changes})


def records(count: int, long: int = 0, task: str = "dolly") -> list[Record]:
    """So many records, the last `long` of them with a prompt of more than 400 characters."""
    texts = [f"Question {i}?" + " please" * (60 if i >= count - long else 0) for i in range(count)]
    return identified(Record(task=task, instruction=t, input="", output="yes", group=t) for t in texts)


def texts(fold: Fold) -> dict[str, list]:
    """The parts' rows as lists, and what else a fold says."""
    return {**{name: list(part) for name, part in fold.parts.items()}, "rest": [fold.digest, fold.too_long]}


@pytest.mark.parametrize("fold", range(5))
def test_parts_are_the_splits(letters: PreTrainedTokenizerFast, tmp_path: Path, fold: int) -> None:
    """Train, validation and test are the tokens of the split's parts, under the split's digest."""
    mix = records(30) + records(20, task="web_gpt")
    found, split = fold_of(mix, fold, settings(), letters, tmp_path), splits.split(mix, fold, "prompt", 0)
    parts = {name: list(part) for name, part in found.parts.items()}
    assert parts == {name: tokenise(getattr(split, name), letters, "alpaca", 400)[0] for name in PARTS}
    assert found.parts == {name: getattr(found, name) for name in PARTS}
    assert (found.digest, found.too_long) == (split.digest, [])


@pytest.mark.parametrize(("change", "moves"), [({"split_seed": 1}, True), ({"max_length": 399}, False)])
def test_digest_is_of_the_split_alone(
    letters: PreTrainedTokenizerFast, tmp_path: Path, change: dict, moves: bool
) -> None:
    """The split's seed moves records, and the digest with them; a length moves none."""
    first, second = (fold_of(records(30), 0, settings(**c), letters, tmp_path) for c in ({}, change))
    assert (first.digest != second.digest) is moves


def test_cap_leaves_records_out_before_the_split(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A capped fold is the fold of the capped records."""
    mix = records(50)
    capped = splits.capped(mix, 20, "prompt", 3)
    whole, part = settings(split_seed=3, max_per_task=20), settings(split_seed=3)
    first, second = (fold_of(of, 1, by, letters, tmp_path) for of, by in ((mix, whole), (capped, part)))
    assert texts(first) == texts(second)


def test_records_without_room_are_named(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A record whose prompt fills max_length is in no part, and in `too_long`."""
    mix = records(40, long=5)
    found = fold_of(mix, 0, settings(), letters, tmp_path)
    kept = {row.id for part in found.parts.values() for row in part}
    assert {r.id for r in found.too_long} == {r.id for r in mix if len(r.instruction) > 400}
    assert kept | {r.id for r in found.too_long} == {r.id for r in mix}
    assert not kept & {r.id for r in found.too_long}


def test_part_of_too_long_records_is_refused(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Where no record of a part has room, the error names mix, part, fold and length."""
    with pytest.raises(ValueError, match=r"data=toy: the train part of fold 2 is empty: all 14 .* data.max_length=400"):
        fold_of(records(20, long=20), 2, settings(), letters, tmp_path)


def test_too_few_records_are_refused(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Where a part has no record at all, the error says that there are too few."""
    with pytest.raises(ValueError, match=r"the test part of fold 4 is empty: too few records"):
        fold_of(records(7), 4, settings(), letters, tmp_path)


def test_groups_that_are_too_large_are_refused(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """One prompt for all records, and so one group, is refused as that; plain folds take it."""
    one_group = identified(Record(task="dolly", instruction="q", input="", output=str(i), group="q") for i in range(30))
    with pytest.raises(
        ValueError, match=r"dolly: fold 0 .* 0/0/30 of 30 records.*the largest \('q'\) has 30 records.*data\.group=none"
    ):
        fold_of(one_group, 0, settings(), letters, tmp_path)
    assert fold_of(one_group, 0, settings(group="none"), letters, tmp_path).test


def test_weight_repeats_a_task_in_training_alone(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """At weight 2 every training record of a task comes twice; the other task and the other parts stay as they are."""
    mix = records(30) + records(20, task="web_gpt")
    plain = fold_of(mix, 0, settings(tasks=["dolly", "web_gpt"]), letters, tmp_path)
    double = fold_of(mix, 0, settings(tasks=["dolly", "web_gpt"], weights={"web_gpt": 2.0}), letters, tmp_path)
    assert texts(plain)["rest"] == texts(double)["rest"]
    assert {name: sorted(r.id for r in plain.parts[name]) for name in PARTS[1:]} == {
        name: sorted(r.id for r in double.parts[name]) for name in PARTS[1:]
    }
    assert Counter(r.id for r in double.train) == {r.id: 1 + (r.task == "web_gpt") for r in plain.train}


@given(st.integers(1, 40), st.floats(0.01, 5))
def test_weighted_task_comes_as_often_as_its_weight_says(count: int, weight: float) -> None:
    """A task's records are drawn weight times over, each as often as any other or once more, whatever their order."""
    of = records(count)
    drawn = Counter(r.id for r in weighted(of, {"dolly": weight}, 0))
    assert drawn.total() == max(1, round(weight * count))
    assert max(drawn.values()) - min(drawn[r.id] for r in of) <= 1
    assert drawn == Counter(r.id for r in weighted(of[::-1], {"dolly": weight}, 0))


def test_folds_share_one_token_file(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Five folds, with any weights, read the file that the first of them made; another length makes another."""
    for fold in range(5):
        fold_of(records(30), fold, settings(weights={"dolly": 1.0 + fold}), letters, tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 1
    fold_of(records(30), 0, settings(max_length=300), letters, tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 2


def test_adding_a_task_moves_no_record_of_another(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A task's records are in the same parts whether it is alone or in a mix."""
    alone = fold_of(records(30), 2, settings(), letters, tmp_path)
    mixed = fold_of(records(30) + records(20, task="web_gpt"), 2, settings(), letters, tmp_path)
    for name in PARTS:
        assert list(alone.parts[name]) == [row for row in mixed.parts[name] if row.task == "dolly"]


def test_task_without_a_record_in_a_part_is_told(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Where a mix's task has lost a part, the sentence names task, part and reason; where none has, there is none."""
    mix = records(30) + records(20, long=20, task="web_gpt")
    found = fold_of(mix, 0, settings(), letters, tmp_path)
    assert found.gaps(["dolly"]) == []
    assert found.gaps(["dolly", "web_gpt"]) == [
        f"web_gpt has no {name} record; 20 of its records are too long" for name in PARTS
    ]
