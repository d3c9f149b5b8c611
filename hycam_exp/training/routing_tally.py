"""What a router does: the mean weight of every module by layer and task, its entropy, and modules that are dead."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hycam_exp.data.batches import Batch
from hycam_exp.runtime import ranks

DEAD_SHARE = 0.05  # of an even share: a module below it, over all tokens of a layer, is dead


class RoutingTally:
    """Sums over tokens of the routing weights and their entropy, by layer and task.

    A layer that routes has an attribute `routing_listener`, which it gives the weights of every forward: (B, L, N_s).
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers: dict[str, Any] = {
            name.removeprefix("base_model.model."): module
            for name, module in model.named_modules()
            if hasattr(module, "routing_listener")
        }
        self.sums: dict[tuple[str, str], Tensor] = {}

    @contextmanager
    def listening(self, batch: Batch) -> Iterator[None]:
        """Count the tokens of a batch that is put through the model inside; a filler has none that count."""
        for name, layer in self.layers.items() if batch.ids else ():
            layer.routing_listener = partial(self._add, name, batch)
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.routing_listener = None

    def _add(self, name: str, batch: Batch, p: Tensor) -> None:
        p = p.detach().double()
        entropy = torch.special.entr(p).sum(-1, keepdim=True)  # (B, L, 1)
        each = torch.cat((p, entropy, torch.ones_like(entropy)), -1)  # (B, L, N_s + 2)
        sums = (each * batch.attention_mask.to(p.device).unsqueeze(-1)).sum(1)  # (B, N_s + 2)
        for row, task in zip(sums, batch.tasks, strict=True):
            self.sums[name, task] = self.sums.get((name, task), 0) + row

    def add_up(self) -> None:
        """Add the other ranks' sums to this one's."""
        own = {place: sums.cpu() for place, sums in self.sums.items()}  # or they would arrive on the sender's device
        first, *others = ranks.gathered(own)
        self.sums = dict(first)
        for sums in others:
            for place, values in sums.items():
                self.sums[place] = self.sums.get(place, 0) + values

    def rows(self) -> list[dict[str, Any]]:
        """A row for each layer and task: the mean weight of every module, the mean entropy in nats, and the tokens."""
        found = []
        for (layer, task), sums in sorted(self.sums.items(), key=lambda item: (_order(item[0][0]), item[0][1])):
            *weights, entropy, tokens = sums.tolist()
            row = {"layer": layer, "task": task, "tokens": int(tokens)}
            means = [round(weight / tokens, 6) for weight in weights]
            found.append({**row, "weights": means, "entropy": round(entropy / tokens, 6)})
        return found


def _order(layer: str) -> list[Any]:
    """Blocks in order of their numbers, not of their digits."""
    return [part.zfill(6) if part.isdigit() else part for part in layer.split(".")]


def dead_modules(rows: Sequence[dict[str, Any]]) -> list[tuple[str, int, float]]:
    """Layer, module and mean weight over all tasks' tokens, where that is below a twentieth of an even share."""
    sums: dict[str, list[float]] = {}
    tokens: dict[str, int] = {}
    for row in rows:
        previous = sums.get(row["layer"], [0.0] * len(row["weights"]))
        sums[row["layer"]] = [s + w * row["tokens"] for s, w in zip(previous, row["weights"], strict=True)]
        tokens[row["layer"]] = tokens.get(row["layer"], 0) + row["tokens"]
    means = {layer: [s / tokens[layer] for s in of_layer] for layer, of_layer in sums.items()}
    return [
        (layer, module, mean)
        for layer, of_layer in means.items()
        for module, mean in enumerate(of_layer)
        if mean < DEAD_SHARE / len(of_layer)
    ]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean entropy of a token's weights in nats, over all layers and tasks, and the number of dead modules."""
    tokens = sum(row["tokens"] for row in rows)
    entropy = sum(row["entropy"] * row["tokens"] for row in rows) / tokens
    return {"entropy": entropy, "dead_modules": float(len(dead_modules(rows)))}


def warnings(rows: Sequence[dict[str, Any]], shown: int = 10) -> list[str]:
    """A sentence for each dead module, and one for those beyond the first."""
    dead = dead_modules(rows)
    sentences = [f"{layer}: module {module} is dead, its mean weight is {mean:.4f}" for layer, module, mean in dead]
    rest = [f"{len(dead) - shown} more modules are dead"] if len(dead) > shown else []
    return sentences[:shown] + rest
