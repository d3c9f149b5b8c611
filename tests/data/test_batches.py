"""Batches: padding told by the mask, and an order that is a pure function of seed and micro-step."""

import itertools
from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hycam_exp.data.batches import IGNORE, POOL_WINDOWS, FromStep, MicroBatches, Schedule, by_length, collate
from hycam_exp.data.tokens import Tokens

PAD = 0


def tokens(ids: list[int], prompt_length: int, name: str = "r") -> Tokens:
    return Tokens(
        id=name,
        task="t",
        group="",
        reference="",
        input_ids=ids,
        prompt_length=prompt_length,
        response_bytes=0,
        ends=True,
    )


def rows_of(lengths: list[int]) -> list[Tokens]:
    """Rows named 0, 1, ..., each a third prompt."""
    return [tokens([5 + i] * length, max(1, length // 3), str(i)) for i, length in enumerate(lengths)]


lengths = st.lists(st.integers(2, 30), min_size=1, max_size=60)
schedules = st.builds(
    Schedule,
    lengths=lengths,
    global_batch_size=st.integers(1, 20),
    micro_batch_size=st.integers(1, 6),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 3),
    world_size=st.integers(1, 3),
)


def test_collate_pads_on_the_right() -> None:
    """Rows stand at the left, padding is masked, and only responses are labelled."""
    batch = collate([tokens([1, 7, 8, 2], 2, "a"), tokens([1, 9], 1, "b")], PAD, "response", window_targets=9)
    assert batch.ids == ["a", "b"]
    assert batch.input_ids.tolist() == [[1, 7, 8, 2], [1, 9, PAD, PAD]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 8, 2], [IGNORE, 9, IGNORE, IGNORE]]
    assert batch.window_targets == 9


def test_collate_pads_on_the_left() -> None:
    """With side left the rows end together, and mask and labels move with them."""
    batch = collate([tokens([1, 7, 8, 2], 2), tokens([1, 9], 1)], PAD, "response", side="left")
    assert batch.input_ids.tolist() == [[1, 7, 8, 2], [PAD, PAD, 1, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 8, 2], [IGNORE, IGNORE, IGNORE, 9]]


def test_loss_on_all_labels_everything_but_the_first() -> None:
    """Every token that has one before it is a target."""
    batch = collate([tokens([1, 7, 8, 2], 2), tokens([1, 9], 1)], PAD, "all")
    assert batch.labels.tolist() == [[IGNORE, 7, 8, 2], [IGNORE, 9, IGNORE, IGNORE]]


def test_pad_that_is_eos_hides_no_eos() -> None:
    """Where the pad id is EOS, the true EOS stays attended and labelled."""
    batch = collate([tokens([1, 7, 8, 2], 2), tokens([1, 9, 2], 1)], 2, "response")
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 8, 2], [IGNORE, 9, 2, IGNORE]]


@given(lengths, st.sampled_from(["left", "right"]), st.sampled_from(["response", "all"]))
def test_mask_and_labels_give_the_rows_back(sizes: list[int], side: str, loss_on: str) -> None:
    """The mask keeps each row's ids, its last num_targets of them are labelled, and the longest row is the width."""
    rows = rows_of(sizes)
    batch = collate(rows, PAD, loss_on, side)
    assert batch.input_ids.shape == (len(rows), max(sizes))
    for row, ids, mask, labels in zip(rows, batch.input_ids, batch.attention_mask, batch.labels, strict=True):
        assert ids[mask == 1].tolist() == row.input_ids
        assert labels[labels != IGNORE].tolist() == row.input_ids[-row.num_targets(loss_on) :]
        assert (labels == IGNORE).logical_or(labels == ids).all()


@given(lengths, st.integers(1, 8))
def test_by_length_is_longest_first_and_complete(sizes: list[int], batch_size: int) -> None:
    """Batches are full but for the last, lengths never rise, and each row is in one of them."""
    batches = by_length(rows_of(sizes), batch_size)
    flat = [row for batch in batches for row in batch]
    assert [len(row.input_ids) for row in flat] == sorted(sizes, reverse=True)
    assert sorted(int(row.id) for row in flat) == list(range(len(sizes)))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(lengths, st.integers(1, 8), st.randoms(use_true_random=False))
def test_by_length_forgets_the_rows_order(sizes: list[int], batch_size: int, random: Random) -> None:
    """The same rows in another order make the same batches."""
    rows = rows_of(sizes)
    assert by_length(random.sample(rows, len(rows)), batch_size) == by_length(rows, batch_size)


@given(schedules)
def test_every_record_once_an_epoch(schedule: Schedule) -> None:
    """Over all windows, ranks and micro-batches an epoch holds each record once, in micro-batches that fit."""
    for epoch in range(schedule.epochs):
        micro_batches = [
            micro
            for window in schedule.windows(epoch)
            for rank in range(schedule.world_size)
            for micro in schedule.micro_batches(window, rank)
        ]
        assert sorted(itertools.chain(*micro_batches)) == list(range(len(schedule.lengths)))
        assert max(map(len, micro_batches)) <= schedule.micro_batch_size


@given(schedules)
def test_windows_are_as_even_as_can_be(schedule: Schedule) -> None:
    """The fewest windows that hold all records, none above the global batch, sizes differing by at most one."""
    sizes = [len(window) for window in schedule.windows(0)]
    assert len(sizes) == schedule.windows_per_epoch == -(-len(schedule.lengths) // schedule.global_batch_size)
    assert max(sizes) <= schedule.global_batch_size
    assert max(sizes) - min(sizes) <= 1
    assert schedule.num_steps == schedule.epochs * len(sizes)


@given(schedules)
def test_every_rank_has_the_same_number_of_micro_batches(schedule: Schedule) -> None:
    """In each window each rank has exactly `accumulation` of them, and ranks' shares differ by at most that many."""
    for window in schedule.windows(0):
        shares = [schedule.micro_batches(window, rank) for rank in range(schedule.world_size)]
        assert [len(share) for share in shares] == [schedule.accumulation] * schedule.world_size
        sizes = [sum(map(len, share)) for share in shares]
        assert max(sizes) - min(sizes) <= schedule.accumulation


@given(schedules)
def test_windows_hold_records_of_similar_length(schedule: Schedule) -> None:
    """Inside one pool the windows are consecutive ranges of the sorted lengths."""
    assume(len(schedule.lengths) <= POOL_WINDOWS * schedule.global_batch_size)
    ranges = sorted(sorted(schedule.lengths[i] for i in window) for window in schedule.windows(0))
    assert list(itertools.chain(*ranges)) == sorted(schedule.lengths)


def test_window_across_two_pools_holds_similar_lengths() -> None:
    """No window joins a pool's longest records to another's shortest, where pools do not end with a window."""
    lengths = list(range(3 * POOL_WINDOWS * 8 - 5))
    for window in Schedule(lengths=lengths, global_batch_size=8, micro_batch_size=8, epochs=1, seed=0).windows(0):
        assert max(window) - min(window) < len(lengths) / 8


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Another epoch or another seed sees the same records in other windows."""

    def windows(seed: int, epoch: int) -> list[list[int]]:
        return Schedule(lengths=[9] * 40, global_batch_size=4, micro_batch_size=2, epochs=2, seed=seed).windows(epoch)

    assert windows(0, 0) == windows(0, 0)
    assert windows(0, 0) != windows(0, 1)
    assert windows(0, 0) != windows(1, 0)


def loaders(schedule: Schedule, loss_on: str = "response") -> list[MicroBatches]:
    rows = rows_of(list(schedule.lengths))
    return [MicroBatches(rows, schedule, PAD, loss_on, rank) for rank in range(schedule.world_size)]


def same(first, second) -> bool:
    return (
        (first.ids, first.window_targets) == (second.ids, second.window_targets)
        and torch.equal(first.input_ids, second.input_ids)
        and torch.equal(first.attention_mask, second.attention_mask)
        and torch.equal(first.labels, second.labels)
    )


@given(schedules, st.randoms(use_true_random=False))
def test_micro_step_is_a_function_of_its_number(schedule: Schedule, random: Random) -> None:
    """Micro-step k is the same batch whichever came before it: a resumed run sees what it would have seen."""
    for straight, jumping in zip(loaders(schedule), loaders(schedule), strict=True):
        in_order = [straight[k] for k in range(len(straight))]
        steps = random.choices(range(len(jumping)), k=10)
        assert all(same(jumping[k], in_order[k]) for k in steps)


@given(schedules)
def test_run_shows_every_record_once_an_epoch(schedule: Schedule) -> None:
    """Over ranks and micro-steps a run holds each record `epochs` times, in batches that say whose they are."""
    seen = Counter(name for loader in loaders(schedule) for k in range(len(loader)) for name in loader[k].ids)
    assert seen == {str(i): schedule.epochs for i in range(len(schedule.lengths))}


@given(schedules, st.sampled_from(["response", "all"]))
def test_window_targets_is_the_sum_over_ranks_and_micro_batches(schedule: Schedule, loss_on: str) -> None:
    """Each micro-batch of an optimiser step names the number of labels in all of them together."""
    ranks = loaders(schedule, loss_on)
    for step in range(schedule.num_steps):
        steps = range(step * schedule.accumulation, (step + 1) * schedule.accumulation)
        batches = [loader[k] for loader in ranks for k in steps]
        labels = sum(int((batch.labels != IGNORE).sum()) for batch in batches)
        assert {batch.window_targets for batch in batches} == {labels}


@given(schedules)
def test_empty_micro_batch_is_a_filler_that_counts_for_nothing(schedule: Schedule) -> None:
    """A micro-batch without members has a record to compute on, no id, and no label."""
    for batch in (loader[k] for loader in loaders(schedule) for k in range(len(loader))):
        assert batch.attention_mask.sum() > 0
        assert (not batch.ids) == bool((batch.labels == IGNORE).all())


def test_fewer_records_than_micro_batches_need_fillers() -> None:
    """Three records on two ranks with four micro-batches each are three batches and five fillers."""
    schedule = Schedule(lengths=[4, 4, 4], global_batch_size=8, micro_batch_size=1, epochs=1, seed=0, world_size=2)
    named = sorted(batch.ids for loader in loaders(schedule) for batch in (loader[k] for k in range(len(loader))))
    assert named == [[], [], [], [], [], ["0"], ["1"], ["2"]]


@pytest.mark.parametrize("start", [0, 4, 10])
def test_sampler_goes_on_from_its_start(start: int) -> None:
    """The micro-steps from `start` on, under the length of the whole run."""
    sampler = FromStep(start, 10)
    assert list(sampler) == list(range(start, 10))
    assert len(sampler) == 10


def test_padding_to_the_limit_changes_no_row() -> None:
    """With `at_least` every batch is that long, behind the same ids, mask and labels (the released code's padding)."""
    rows = rows_of([5, 3])
    plain, wide = (collate(rows, 0, "response", at_least=n) for n in (0, 9))
    assert wide.input_ids.shape == (2, 9)
    for name in ("input_ids", "attention_mask", "labels"):
        assert torch.equal(getattr(wide, name)[:, :5], getattr(plain, name))
    assert not wide.attention_mask[:, 5:].any()
    assert (wide.labels[:, 5:] == IGNORE).all()
