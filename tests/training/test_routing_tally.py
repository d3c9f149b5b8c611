"""Routing diagnostics, on weights that are given."""

import math

import pytest
import torch
from torch import Tensor, nn

from hycam_exp.data.batches import Batch
from hycam_exp.training.routing_tally import RoutingTally, dead_modules, summary, warnings


class Routed(nn.Module):
    """A layer that routes as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.routing_listener = None

    def forward(self, p: Tensor) -> None:
        if self.routing_listener is not None:
            self.routing_listener(p)


def batch(*tasks: str, mask: list[list[int]]) -> Batch:
    empty = torch.zeros(len(tasks), len(mask[0]), dtype=torch.long)
    return Batch([""] * len(tasks), empty, torch.tensor(mask), empty, tasks=tasks)


def test_means_are_over_a_tasks_tokens_without_padding() -> None:
    """Weights and entropy are means over the unpadded tokens of each task, over all batches."""
    model = nn.ModuleDict({"first": Routed(), "other": nn.Linear(1, 1)})
    tally = RoutingTally(model)
    with tally.listening(batch("a", "b", mask=[[1, 1], [1, 0]])):
        model["first"](torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.25, 0.75], [9.0, 9.0]]]))
    with tally.listening(batch("a", mask=[[1]])):
        model["first"](torch.tensor([[[0.0, 1.0]]]))
    first, second = tally.rows()
    assert (first["layer"], first["task"], first["tokens"]) == ("first", "a", 3)
    assert first["weights"] == [0.5, 0.5]
    assert first["entropy"] == pytest.approx(math.log(2) / 3, abs=1e-6)
    assert (second["task"], second["tokens"], second["weights"]) == ("b", 1, [0.25, 0.75])
    assert second["entropy"] == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), abs=1e-6)


def test_nothing_listens_outside() -> None:
    """A forward outside of `listening` counts for nothing, also after an error inside."""
    model = nn.ModuleDict({"first": Routed()})
    tally = RoutingTally(model)
    with pytest.raises(RuntimeError), tally.listening(batch("a", mask=[[1]])):
        raise RuntimeError
    model["first"](torch.ones(1, 1, 2))
    assert tally.rows() == []


def test_layers_are_in_the_order_of_their_blocks() -> None:
    """Block 10 comes after block 2."""
    model = nn.ModuleDict({"layers": nn.ModuleList(Routed() for _ in range(11))})
    tally = RoutingTally(model)
    with tally.listening(batch("a", mask=[[1]])):
        for layer in model["layers"]:
            layer(torch.ones(1, 1, 1))
    assert [row["layer"] for row in tally.rows()] == [f"layers.{i}" for i in range(11)]


def row(layer: str, tokens: int, *weights: float) -> dict:
    return {"layer": layer, "task": "a", "tokens": tokens, "weights": list(weights), "entropy": 0.0}


def test_dead_module_is_one_that_no_task_uses() -> None:
    """Over all tokens of a layer its mean weight is below a twentieth of an even share; the sentence names it."""
    rows = [row("x", 90, 1.0, 0.0), row("x", 10, 0.8, 0.2), row("y", 10, 1.0, 0.0), row("y", 10, 0.0, 1.0)]
    ((layer, module, mean),) = dead_modules(rows)
    assert (layer, module, mean) == ("x", 1, pytest.approx(0.02))
    assert warnings(rows) == ["x: module 1 is dead, its mean weight is 0.0200"]
    assert dead_modules([row("x", 100, 0.975, 0.025)]) == []
    assert len(warnings([row(str(i), 1, 1.0, 0.0) for i in range(12)])) == 11


def test_summary_weighs_entropy_by_tokens() -> None:
    """The mean entropy is over tokens, and the modules that no task uses are counted."""
    rows = [{**row("x", 90, 1.0, 0.0), "entropy": 0.1}, {**row("y", 10, 0.5, 0.5), "entropy": 0.6}]
    assert summary(rows) == {"entropy": pytest.approx(0.15), "dead_modules": 1.0}


def test_method_without_a_router_has_no_rows() -> None:
    """There is nothing to say of it."""
    tally = RoutingTally(nn.Linear(1, 1))
    with tally.listening(batch("a", mask=[[1]])):
        pass
    assert tally.rows() == []
