"""The search's steps, on losses that are given."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.config import grid
from hycam_exp.launch.cell_status import Inputs
from hycam_exp.records.store import Store
from hycam_exp.training.fit import NonFiniteLossError
from scripts import search_learning_rate
from scripts.search_learning_rate import GRID, SEEDS, Losses, choice, missing, neighbour, overrides_of, search
from tests.made import RECORD, made


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
    losses = searched(lambda rate, seed: abs(rate - 4e-3) + seed)
    assert {rate for rate, seed in losses if seed == 0} == set(GRID)
    assert {rate for rate, seed in losses if seed == 1} == {3e-3, 1e-3}
    assert choice(losses) == 3e-3


def test_second_seed_can_change_the_choice() -> None:
    """The mean of both seeds decides between the best two."""
    losses = searched(lambda rate, seed: abs(rate - 4e-3) + (10 if (rate, seed) == (3e-3, 1) else 0))
    assert choice(losses) == 1e-3


@pytest.mark.parametrize(("best", "side"), [(1e-1, max), (3e-4, min)])
def test_grid_is_extended_beyond_an_edge_that_is_best(best: float, side) -> None:
    """Steps are added until the best has a neighbour on both sides."""
    losses = searched(lambda rate, seed: abs(math.log(rate / best)))
    assert choice(losses) == best
    assert side(rate for rate, _ in losses) == neighbour(best, 1 if side is max else -1)


def test_extension_ends() -> None:
    """A loss that falls for ever is followed for a few steps only."""
    assert len({rate for rate, _ in searched(lambda rate, seed: -rate)}) == len(GRID) + 4


def test_rate_that_diverges_is_never_chosen() -> None:
    """A cell without a loss is no candidate, and where all diverge there is no choice."""
    losses = searched(lambda rate, seed: None if rate > 1e-2 else 1 - rate)
    assert choice(losses) == 1e-2
    assert choice(searched(lambda rate, seed: None)) is None


SMALL = ("data.max_per_task=10", "data.tasks=[mini_passage]")


def _place(folder: Path, method: str, cell: tuple[float, int], *changes: str) -> tuple[str, Store]:
    paths = (f"paths.results={folder}", f"paths.outputs={folder}/outputs")
    (run,) = grid.runs(grid.expand(overrides_of(method, cell, [*SMALL, *changes, *paths]), multirun=True))
    return Inputs().run_id(run), Store.of(run)


def _write(folder: Path, method: str, cell: tuple[float, int], loss: float, *changes: str, version: int = 2) -> None:
    run_id, store = _place(folder, method, cell, *changes)
    store.write(made(run_id=run_id, fit=replace(RECORD.fit, best_validation_loss=loss), results_version=version))


def test_losses_are_those_of_the_very_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of the same method, rate and seed under other overrides stay out; a cell's own record is taken whenever
    it was made, with its version; a loss that was not finite counts as diverged."""

    def start(method: str, cells: list[tuple[float, int]], overrides: object) -> None:
        for rate, seed in cells:
            cell, loss = (rate, seed), abs(math.log10(rate) + 2.4 + seed / 100)
            if rate == 1e-3:
                _write(tmp_path, method, cell, loss / 1000, "data.max_length=100")
            if rate > 1e-2:
                run_id, store = _place(tmp_path, method, cell)
                store.add_failure(run_id, NonFiniteLossError("the loss is nan"))
            else:
                _write(tmp_path, method, cell, loss, version=1 if rate < 3e-3 else 2)

    monkeypatch.setattr(search_learning_rate, "start", start)
    paths = [f"paths.results={tmp_path}", f"paths.outputs={tmp_path}/outputs"]
    found = search("lora", [*SMALL, *paths])
    assert found["choice"] == 3e-3
    rows = {(row["learning_rate"], row["seed"]): row for row in found["cells"]}
    assert sorted({rate for rate, _ in rows}) == list(GRID)
    assert rows[1e-3, SEEDS[0]]["validation_loss"] == pytest.approx(0.6)
    assert [rows[rate, SEEDS[0]]["version"] for rate in (1e-3, 3e-3, 3e-2)] == [1, 2, None]
    assert rows[3e-2, SEEDS[0]]["validation_loss"] is None


@pytest.mark.parametrize(("error", "why"), [(MemoryError("out of memory"), "out of memory"), (None, "it left neither")])
def test_a_cell_that_failed_otherwise_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, why: str
) -> None:
    """Nothing is chosen as if it had diverged; the reason and the folder are named."""

    def start(method: str, cells: list[tuple[float, int]], overrides: object) -> None:
        run_id, store = _place(tmp_path, method, cells[0])
        if error is not None:
            store.add_failure(run_id, error)

    monkeypatch.setattr(search_learning_rate, "start", start)
    paths = [f"paths.results={tmp_path}", f"paths.outputs={tmp_path}/outputs"]
    with pytest.raises(
        ValueError, match=rf"^tiny_llama-lora-mini-f0-s0-\w+: {why}.*; see {tmp_path}/outputs/tiny_llama"
    ):
        search("lora", [*SMALL, *paths])
