"""The sizes of steps and micro-batches, which a plan takes for those that training has."""

from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.config.settings import compose
from hycam_exp.data.batches import Schedule
from hycam_exp.data.pace import Pace


@given(
    st.integers(1, 20), st.integers(1, 24), st.integers(1, 5), st.integers(1, 200)
)  # fmt: skip
def test_sizes_are_those_of_the_schedule(size: int, micro: int, ranks: int, records: int) -> None:
    """Steps of an epoch, micro-batches of a rank, and the most rows of one, which full windows have."""
    pace = Pace(size, min(micro, size), ranks)
    windows = Schedule([1] * records, size, min(micro, size), 1, seed=0, world_size=ranks).windows(0)
    assert pace.windows(records) == len(windows)
    full = Schedule([1] * size, size, min(micro, size), 1, seed=0, world_size=ranks)
    for schedule, (window, *_) in ((full, full.windows(0)), (full, windows)):
        cut = [schedule.micro_batches(window, rank) for rank in range(ranks)]
        assert {len(batches) for batches in cut} == {pace.accumulation}
        assert max(len(batch) for batches in cut for batch in batches) <= pace.rows <= min(micro, size)
    assert (
        max(len(batch) for rank in range(ranks) for batch in full.micro_batches(full.windows(0)[0], rank)) == pace.rows
    )


def test_a_run_has_no_micro_batch_larger_than_its_step() -> None:
    """Of a global batch of 8 a trainer of 64 rows and 2 x 2 devices has micro-batches of 2."""
    run = compose("recipe.global_batch_size=8", "trainer=ddp", "trainer.devices=2", "trainer.num_nodes=2",
                  "trainer.micro_batch_size=64")  # fmt: skip
    pace = Pace.of(run.recipe, run.trainer)
    assert (pace, pace.accumulation, pace.rows) == (Pace(8, 8, 4), 1, 2)


def test_validations_of_an_epoch_are_at_least_a_step_apart() -> None:
    """Four in an epoch of 25 steps are six apart; of three steps, one."""
    pace = Pace(4, 4)
    assert (pace.windows(98), pace.validation_interval(98, 4), pace.validation_interval(12, 4)) == (25, 6, 1)
