"""Batches: padding told by the mask, and an order that is a pure function of seed and micro-step."""

import itertools
import math
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.config.compose import compose
from hycam_exp.data.batches import (
    IGNORE,
    FromStep,
    MicroBatches,
    Schedule,
    StepSizes,
    by_length,
    collate,
    least_padding,
)
from hycam_exp.data.tokens import Tokens

PAD, MOST = 0, 30


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


lengths = st.lists(st.integers(2, MOST), min_size=1, max_size=60)
schedules = st.builds(
    Schedule,
    lengths=lengths,
    max_length=st.just(MOST),
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


def cut(schedule: Schedule, window: list[int]) -> list[list[list[int]]]:
    """Each rank's micro-batches of a window."""
    return [schedule.micro_batches(window, rank) for rank in range(schedule.world_size)]


def padded(schedule: Schedule, rows: list[int]) -> int:
    """The tokens of a micro-batch, padding included."""
    return len(rows) * max((schedule.lengths[i] for i in rows), default=0)


@given(schedules)
def test_every_record_once_an_epoch(schedule: Schedule) -> None:
    """Over all windows, ranks and micro-batches an epoch holds each record once, in micro-batches that fit."""
    for epoch in range(schedule.epochs):
        batches = [rows for window in schedule.windows(epoch) for of_rank in cut(schedule, window) for rows in of_rank]
        assert sorted(itertools.chain(*batches)) == list(range(len(schedule.lengths)))
        assert max(padded(schedule, rows) for rows in batches) <= schedule.micro_batch_size * MOST


@given(schedules)
def test_windows_are_as_even_as_can_be(schedule: Schedule) -> None:
    """The fewest windows that hold all records, none above the global batch, sizes differing by at most one."""
    sizes = [len(window) for window in schedule.windows(0)]
    assert len(sizes) == schedule.windows_per_epoch == -(-len(schedule.lengths) // schedule.global_batch_size)
    assert max(sizes) <= schedule.global_batch_size
    assert max(sizes) - min(sizes) <= 1
    assert schedule.num_steps == schedule.epochs * len(sizes)


@given(schedules, st.randoms(use_true_random=False))
def test_a_window_is_drawn_whatever_its_records_are(schedule: Schedule, random: Random) -> None:
    """Neither lengths nor micro-batches nor ranks decide which records are in a step."""
    others = Schedule(
        lengths=random.sample(list(schedule.lengths), len(schedule.lengths)), max_length=MOST, micro_batch_size=1,
        global_batch_size=schedule.global_batch_size, epochs=schedule.epochs, seed=schedule.seed, world_size=1,
    )  # fmt: skip
    assert [schedule.windows(e) for e in range(schedule.epochs)] == [others.windows(e) for e in range(schedule.epochs)]


@given(schedules)
def test_every_rank_has_as_many_micro_batches_of_like_lengths(schedule: Schedule) -> None:
    """Each rank has exactly `accumulation`, and no row of a micro-step is shorter than one of a later one."""
    for window in schedule.windows(0):
        ranks = cut(schedule, window)
        assert [len(share) for share in ranks] == [schedule.accumulation] * schedule.world_size
        steps = [[schedule.lengths[i] for rows in step for i in rows] for step in zip(*ranks, strict=True)]
        assert all(min(one) >= max(next_) for one, next_ in itertools.pairwise(steps) if next_)


@given(schedules)
def test_only_a_window_of_fewer_records_than_micro_batches_has_empty_ones(schedule: Schedule) -> None:
    """A step is cut into as many micro-batches as there are, or as it has records."""
    for window in schedule.windows(0):
        filled = sum(bool(rows) for of_rank in cut(schedule, window) for rows in of_rank)
        assert filled == min(len(window), schedule.accumulation * schedule.world_size)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 8), st.integers(1, 4))
def test_the_cut_has_the_least_padding(sizes: list[int], parts: int, rows: int) -> None:
    """Of all cuts into so many parts that none is above the limit, none has fewer padded tokens."""
    sizes, parts, most = sorted(sizes, reverse=True), min(parts, len(sizes)), 12 * max(rows, -(-len(sizes) // parts))

    def tokens(edges: tuple[int, ...]) -> list[int]:
        return [sizes[a] * (b - a) for a, b in itertools.pairwise((0, *edges, len(sizes)))]

    cuts = [tokens(edges) for edges in itertools.combinations(range(1, len(sizes)), parts - 1)]
    found = least_padding(sizes, parts, most)
    assert (len(found), found[-1]) == (parts, len(sizes))
    assert max(tokens(tuple(found[:-1]))) <= most
    assert sum(tokens(tuple(found[:-1]))) == min(sum(cut) for cut in cuts if max(cut) <= most)


def test_one_long_record_is_a_micro_batch_of_its_own() -> None:
    """Of 30 and seven of 2 tokens in two micro-batches, one holds the seven, which are fewer tokens than four long."""
    schedule = Schedule([2, 2, 2, 30, 2, 2, 2, 2], MOST, global_batch_size=8, micro_batch_size=4, epochs=1, seed=0)
    (window,) = schedule.windows(0)
    assert schedule.micro_batches(window) == [[3], [0, 1, 2, 4, 5, 6, 7]]


@given(st.integers(1, 20), st.integers(1, 24), st.integers(1, 5), st.integers(1, 200))
def test_sizes_are_those_of_the_schedule(size: int, micro: int, ranks: int, records: int) -> None:
    """Steps of an epoch, micro-batches of a rank, and the most rows of the longest length, which full windows have."""
    micro = min(micro, size)
    sizes = StepSizes(size, micro, ranks)
    some = Schedule([MOST] * records, MOST, size, micro, 1, seed=0, world_size=ranks)
    full = Schedule([MOST] * size, MOST, size, micro, 1, seed=0, world_size=ranks)
    assert sizes.windows(records) == len(some.windows(0))
    assert {len(batches) for batches in cut(some, some.windows(0)[0])} == {sizes.accumulation}
    most = [max(len(rows) for batches in cut(s, s.windows(0)[0]) for rows in batches) for s in (some, full)]
    assert most[0] <= most[1] == sizes.rows <= micro


def test_a_run_has_no_micro_batch_larger_than_its_step() -> None:
    """Of a global batch of 8 a trainer of 64 rows and 2 x 2 devices has micro-batches of 2."""
    run = compose("recipe.global_batch_size=8", "trainer=ddp", "trainer.devices=2", "trainer.num_nodes=2",
                  "trainer.micro_batch_size=64")  # fmt: skip
    sizes = StepSizes.of(run.recipe, run.trainer)
    assert (sizes, sizes.accumulation, sizes.rows) == (StepSizes(8, 8, 4), 1, 2)


def test_validations_of_an_epoch_are_at_least_a_step_apart() -> None:
    """Four in an epoch of 25 steps are six apart; of three steps, one."""
    sizes = StepSizes(4, 4)
    assert (sizes.windows(98), sizes.validation_interval(98, 4), sizes.validation_interval(12, 4)) == (25, 6, 1)


def test_the_sizes_load_no_torch() -> None:
    """A plan reads them."""
    code = "import sys; import hycam_exp.data.batches; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_task_entropy_of_a_step_is_that_of_its_draw_over_the_mix() -> None:
    """The mean over the steps that were made, over the entropy of all; steps of one task each would have 0."""
    schedule = Schedule([5] * 6, MOST, global_batch_size=2, micro_batch_size=2, epochs=2, seed=1)
    tasks = ["a", "a", "a", "b", "b", "b"]
    mixed = [[tasks[i] for i in window] for epoch in (0, 1) for window in schedule.windows(epoch)]
    assert [len(set(step)) for step in mixed] == [1, 2, 1, 2, 2, 2]  # of one task, or of both
    for steps in (1, 4, 6):
        expected = sum(len(set(step)) - 1 for step in mixed[:steps]) / steps  # ln 2 / ln 2 of a mixed step
        assert schedule.step_task_entropy(tasks, steps) == pytest.approx(expected, abs=1e-12)
    assert schedule.step_task_entropy(["a"] * 6, 6) is None


def test_steps_of_a_large_mix_are_mixed() -> None:
    """Of five even tasks whose lengths differ tenfold a step of 16 has the entropy of an independent draw, to 1%."""
    tasks = [str(i % 5) for i in range(2000)]
    schedule = Schedule([3 * 10 ** (i % 5 // 2) for i in range(2000)], 300, 16, 4, 3, seed=0)
    # E[-sum n/16 ln n/16] for n of Binomial(16, 1/5), five times.
    weights = [math.comb(16, n) * 0.2**n * 0.8 ** (16 - n) for n in range(17)]
    expected = 5 * sum(w * -n / 16 * math.log(n / 16) for n, w in enumerate(weights) if n) / math.log(5)
    assert schedule.step_task_entropy(tasks, schedule.num_steps) == pytest.approx(expected, rel=0.01)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Another epoch or another seed sees the same records in other windows."""

    def windows(seed: int, epoch: int) -> list[list[int]]:
        schedule = Schedule([9] * 40, MOST, global_batch_size=4, micro_batch_size=2, epochs=2, seed=seed)
        return schedule.windows(epoch)

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
    schedule = Schedule([4, 4, 4], MOST, global_batch_size=8, micro_batch_size=1, epochs=1, seed=0, world_size=2)
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
