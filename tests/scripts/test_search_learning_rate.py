"""The search's steps, on losses that are given."""

import pytest

from scripts.search_learning_rate import GRID, Losses, choice, missing, neighbour


def searched(loss_of) -> Losses:
    """Every cell that the search asks for, with a loss by rate and seed."""
    losses: Losses = {}
    while cells := missing(losses):
        losses |= {cell: loss_of(*cell) for cell in cells}
    return losses


@pytest.mark.parametrize(("rate", "up", "down"), [(1e-5, 3e-5, 3e-6), (3e-2, 1e-1, 1e-2), (1e-1, 3e-1, 3e-2)])
def test_steps_are_half_decades(rate: float, up: float, down: float) -> None:
    """1, 3, 10, 30 and back."""
    assert neighbour(rate, 1) == up
    assert neighbour(rate, -1) == down


def test_grid_is_run_once_and_the_best_two_again() -> None:
    """With the best inside the grid nothing is added but the second seed of the best two."""
    losses = searched(lambda rate, seed: abs(rate - 1.1e-3) + seed)
    assert {rate for rate, seed in losses if seed == 0} == set(GRID)
    assert {rate for rate, seed in losses if seed == 1} == {1e-3, 3e-4}
    assert choice(losses) == 1e-3


def test_second_seed_can_change_the_choice() -> None:
    """The mean of both seeds decides between the best two."""
    losses = searched(lambda rate, seed: abs(rate - 1e-3) + (10 if (rate, seed) == (1e-3, 1) else 0))
    assert choice(losses) == 3e-4


@pytest.mark.parametrize(("best", "side"), [(1e-1, max), (3e-6, min)])
def test_grid_is_extended_beyond_an_edge_that_is_best(best: float, side) -> None:
    """Steps are added until the best has a neighbour on both sides."""
    import math

    losses = searched(lambda rate, seed: abs(math.log(rate / best)))
    assert choice(losses) == best
    assert side(rate for rate, _ in losses) == neighbour(best, 1 if side is max else -1)


def test_extension_ends() -> None:
    """A loss that falls for ever is followed for a few steps only."""
    assert len({rate for rate, _ in searched(lambda rate, seed: -rate)}) == len(GRID) + 4


def test_rate_that_diverges_is_never_chosen() -> None:
    """A cell without a loss is no candidate, and where all diverge there is no choice."""
    losses = searched(lambda rate, seed: None if rate > 1e-3 else 1 - rate)
    assert choice(losses) == 1e-3
    assert choice(searched(lambda rate, seed: None)) is None
