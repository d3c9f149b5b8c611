"""Folds: five disjoint test sets, whole groups, and nothing that row order or another task could change."""

import hashlib
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.data.records import Record
from hycam_exp.data.splits import NUM_BLOCKS, Split, blocks, capped, require_shares, split

FOLDS = range(5)
# The group of each record of a task: few groups, many groups, and everything between.
groupings = st.integers(1, 40).flatmap(lambda most: st.lists(st.integers(1, most), max_size=80))
grouping = st.sampled_from(["prompt", "none"])
seeds = st.integers(0, 5)


def records_of(groups: list[int], task: str = "dolly") -> list[Record]:
    return [
        Record(task=task, instruction="", input="", output="", group=f"group {group}", id=f"{task} {index}")
        for index, group in enumerate(groups)
    ]


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def parts(found: Split) -> dict[str, set[str]]:
    return {name: set(ids(getattr(found, name))) for name in ("train", "validation", "test")}


def largest(records: list[Record], group: str) -> int:
    return max(Counter(r.group if group == "prompt" else r.id for r in records).values(), default=0)


@given(groupings, grouping, seeds, st.sampled_from(FOLDS))
def test_parts_are_disjoint_and_complete(groups: list[int], group: str, seed: int, fold: int) -> None:
    """Every record is in exactly one part of a fold."""
    records = records_of(groups)
    found = split(records, fold, group, seed)
    assert sorted(ids(found.train) + ids(found.validation) + ids(found.test)) == sorted(ids(records))


@given(groupings, grouping, seeds)
def test_blocks_are_a_tenth_up_to_one_group(groups: list[int], group: str, seed: int) -> None:
    """Ten blocks hold each record once; none is further from a tenth or from another than the largest group's size."""
    records = records_of(groups)
    found = blocks(records, group, seed)
    sizes = [len(block) for block in found]
    assert sorted(record.id for block in found for record in block) == sorted(ids(records))
    assert len(sizes) == NUM_BLOCKS
    assert max(sizes) - min(sizes) <= largest(records, group)
    assert all(abs(size - len(records) / NUM_BLOCKS) <= largest(records, group) for size in sizes)


def test_large_groups_are_placed_first() -> None:
    """One group of nine and 81 single records make ten blocks of nine."""
    assert [len(block) for block in blocks(records_of([0] * 9 + list(range(1, 82))), "prompt", 0)] == [9] * 10


@given(st.integers(0, 12), seeds, st.sampled_from(FOLDS))
def test_ungrouped_parts_are_seven_to_two_to_one(tens: int, seed: int, fold: int) -> None:
    """Without groups the parts are exactly 7:2:1 where ten divides the number of records."""
    found = split(records_of([1] * 10 * tens), fold, "none", seed)
    assert [len(found.train), len(found.validation), len(found.test)] == [7 * tens, 2 * tens, tens]


@given(groupings, grouping, seeds)
def test_five_test_sets_are_disjoint(groups: list[int], group: str, seed: int) -> None:
    """No record is tested in two folds."""
    records = records_of(groups)
    tested = [record.id for fold in FOLDS for record in split(records, fold, group, seed).test]
    assert len(tested) == len(set(tested))


@given(groupings, grouping, seeds)
def test_validation_never_sees_a_test_block(groups: list[int], group: str, seed: int) -> None:
    """What any fold validates on, no fold tests on."""
    found = [parts(split(records_of(groups), fold, group, seed)) for fold in FOLDS]
    assert not set().union(*(f["validation"] for f in found)) & set().union(*(f["test"] for f in found))


@given(groupings, seeds, st.sampled_from(FOLDS))
def test_no_group_crosses_a_split(groups: list[int], seed: int, fold: int) -> None:
    """Records of one group are all in the same part."""
    found = split(records_of(groups), fold, "prompt", seed)
    named = [{record.group for record in part} for part in (found.train, found.validation, found.test)]
    assert sum(map(len, named)) == len(set().union(*named))


@given(groupings, groupings, grouping, st.sampled_from(FOLDS))
def test_another_task_changes_nothing(groups: list[int], others: list[int], group: str, fold: int) -> None:
    """A task's fold is the same alone and in a mix, also where the tasks' groups have the same names."""
    alone = split(records_of(groups), fold, group, 0)
    mixed = split(records_of(others, "auto_cot") + records_of(groups) + records_of(others, "web_gpt"), fold, group, 0)
    for name in ("train", "validation", "test"):
        assert [r for r in getattr(mixed, name) if r.task == "dolly"] == getattr(alone, name)


def test_tasks_are_cut_differently() -> None:
    """The task enters the hash: two tasks with the same groups do not have the same blocks."""
    groups = list(range(40))
    first, second = (
        [{r.group for r in block} for block in blocks(records_of(groups, task), "prompt", 0)]
        for task in ("dolly", "web_gpt")
    )
    assert first != second


@given(groupings, grouping, seeds, st.sampled_from(FOLDS), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(groups: list[int], group: str, seed: int, fold: int, random: Random) -> None:
    """The same records in another order give the same parts in the same order."""
    records = records_of(groups)
    shuffled = random.sample(records, len(records))
    assert split(shuffled, fold, group, seed) == split(records, fold, group, seed)


def test_ungrouped_blocks_are_the_hash_order_dealt_out() -> None:
    """Without groups block b holds every tenth record from b on, in the order of SHA-256 over task, id and seed."""
    records = records_of([1] * 57)

    def key(record: Record) -> str:
        encoded = (part.encode() for part in (record.task, record.id, "3"))
        return hashlib.sha256(b"".join(len(e).to_bytes(8, "little") + e for e in encoded)).hexdigest()

    ordered = sorted(records, key=key)
    assert blocks(records, "none", 3) == [ordered[block::NUM_BLOCKS] for block in range(NUM_BLOCKS)]


@pytest.mark.parametrize("fold", FOLDS)
def test_fold_takes_its_blocks(fold: int) -> None:
    """Fold f tests on block 2f and validates on blocks 2f + 1 and 2f + 3, modulo ten."""
    records = records_of(list(range(60)))
    found = [set(ids(block)) for block in blocks(records, "prompt", 0)]
    validation = found[(2 * fold + 1) % 10] | found[(2 * fold + 3) % 10]
    train = set(ids(records)) - validation - found[2 * fold]
    expected = {"train": train, "validation": validation, "test": found[2 * fold]}
    assert parts(split(records, fold, "prompt", 0)) == expected


def test_split_seed_moves_records() -> None:
    """Another split seed is another cut of the same records."""
    records = records_of(list(range(60)))
    assert parts(split(records, 0, "prompt", 0)) != parts(split(records, 0, "prompt", 1))


@given(groupings, grouping, grouping, seeds, seeds, st.sampled_from(FOLDS), st.sampled_from(FOLDS))
def test_digest_tells_membership(
    groups: list[int], group: str, other_group: str, seed: int, other_seed: int, fold: int, other_fold: int
) -> None:
    """Two splits of the same records have the same digest if, and only if, every part has the same members."""
    records = records_of(groups)
    first, second = split(records, fold, group, seed), split(records, other_fold, other_group, other_seed)
    assert (first.digest == second.digest) == (parts(first) == parts(second))


@given(groupings.filter(bool), st.sampled_from(FOLDS))
def test_digest_changes_when_one_record_moves(groups: list[int], fold: int) -> None:
    """Moving a record from one part to another, or leaving it out, gives another digest; reordering does not."""
    found = split(records_of(groups), fold, "prompt", 0)
    source = next(name for name in ("train", "validation", "test") if getattr(found, name))
    target = "test" if source != "test" else "train"
    moved, left = getattr(found, source)[0], getattr(found, source)[1:]
    rest = {"train": found.train, "validation": found.validation, "test": found.test, source: left}
    reversed_parts = Split(found.train[::-1], found.validation[::-1], found.test[::-1])
    assert reversed_parts.digest == found.digest
    assert len({found.digest, Split(**rest).digest, Split(**{**rest, target: [*rest[target], moved]}).digest}) == 3


@given(groupings, groupings, grouping, st.integers(0, 90), st.randoms(use_true_random=False))
def test_cap_keeps_at_most_its_limit_of_each_task(
    groups: list[int], others: list[int], group: str, limit: int, random: Random
) -> None:
    """A cap keeps min(limit, all) records of each task, the same ones for any row order."""
    records = records_of(groups) + records_of(others, "auto_cot")
    kept = capped(records, limit, group, 0)
    sizes = {"dolly": min(limit, len(groups)), "auto_cot": min(limit, len(others))}
    assert Counter(record.task for record in kept) == Counter(sizes)
    assert capped(random.sample(records, len(records)), limit, group, 0) == kept


@given(groupings, st.integers(0, 80), st.integers(0, 80))
def test_a_smaller_cap_keeps_some_of_the_same(groups: list[int], first: int, second: int) -> None:
    """What a smaller cap keeps, a larger one keeps as well, and it cuts at most one group."""
    records = records_of(groups)
    small, large = sorted((first, second))
    kept = capped(records, small, "prompt", 0)
    sizes, kept_sizes = Counter(r.group for r in records), Counter(r.group for r in kept)
    assert set(ids(kept)) <= set(ids(capped(records, large, "prompt", 0)))
    assert sum(kept_sizes[g] != sizes[g] for g in kept_sizes) <= 1


def test_no_cap_keeps_everything_as_it_is() -> None:
    """Without a cap the records are what they were, in their order."""
    records = records_of([3, 1, 2])
    assert capped(records, None, "prompt", 0) == records


@given(st.integers(1, 200), st.integers(1, 6), grouping, seeds)
def test_groups_of_one_size_are_never_refused(groups: int, size: int, group: str, seed: int) -> None:
    """Ten or more groups of one size, and any number of single records, pass: rounding is no fault of a set."""
    if groups >= 10 or size == 1:
        require_shares(records_of([n for n in range(groups) for _ in range(size)]), group, seed)


@pytest.mark.parametrize(("largest", "refused"), [(20, False), (24, False), (27, True), (45, True), (60, True)])
def test_group_of_more_than_a_quarter_is_refused(largest: int, refused: bool) -> None:
    """One group among single records, 100 in all: up to a quarter it is honest, above it the split is none."""
    records = records_of([0] * largest + list(range(1, 101 - largest)))
    if not refused:
        require_shares(records, "prompt", 0)
        return
    with pytest.raises(
        ValueError, match=rf"dolly: fold 0 .*/{largest} of 100 records.*the largest \('group 0'\) has {largest}"
    ):
        require_shares(records, "prompt", 0)
    require_shares(records, "none", 0)


def test_refusal_says_parts_groups_and_ways_out() -> None:
    """One question for 45 of 60 rows: the parts that it would have, its size, and what to write instead."""
    with pytest.raises(ValueError) as told:
        require_shares(records_of([0] * 45 + list(range(1, 16))), "prompt", 0)
    assert str(told.value) == (
        "dolly: fold 0 would train, validate, test on 11/4/45 of 60 records, further than 15% of them from 7:2:1, since"
        " a group stays in one part: there are 16 groups, and the largest ('group 0') has 45 records; another field for"
        " data.fields.dolly.group (null: the prompt), or data.group=none, makes smaller ones"
    )


def test_a_task_is_refused_in_every_fold_of_a_mix() -> None:
    """Another task does not hide it, and it does not depend on which fold is run."""
    with pytest.raises(ValueError, match="web_gpt: fold 0"):
        require_shares(records_of(list(range(500))) + records_of([0] * 40 + list(range(60)), "web_gpt"), "prompt", 0)
