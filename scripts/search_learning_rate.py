"""A learning rate for every method, chosen by the validation loss of fold 0 from one grid; no test split is touched.

python -m scripts.search_learning_rate [--methods lora hycam] [--overrides data.max_per_task=150] [--out FILE]

Half-decade steps from 1e-5 to 3e-2, extended where the best is at an edge; the best two again with a second seed; the
choice is the one with the lower mean. Cells that are finished are not run again.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hycam_exp.command_line import Parser
from hycam_exp.config import compose
from hycam_exp.method_settings import METHODS
from hycam_exp.runs import code_digest

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (0, 1)
WIDEST = 4  # steps beyond an edge of the grid
FIXED = ("experiment=mini", "fold=0", "evaluation.test=false", "evaluation.generate=false")
Losses = dict[tuple[float, int], float | None]


def neighbour(rate: float, direction: int) -> float:
    """The next half-decade step: 1, 3, 10, 30, ..."""
    exponent = math.floor(math.log10(rate) + 1e-9)
    is_one = round(rate / 10**exponent) == 1
    up = 3 * 10.0**exponent if is_one else 10.0 ** (exponent + 1)
    down = 3 * 10.0 ** (exponent - 1) if is_one else 10.0**exponent
    return float(f"{up if direction > 0 else down:.0e}")


def ranked(losses: Losses, seed: int) -> list[float]:
    """The rates of one seed from the lowest loss on; those that diverged are none."""
    found = {rate: loss for (rate, of), loss in losses.items() if of == seed and loss is not None}
    return sorted(found, key=lambda rate: found[rate])


def missing(losses: Losses) -> list[tuple[float, int]]:
    """What to run next: beyond an edge that is best, else the best two with the second seed, else nothing."""
    first = {rate for rate, seed in losses if seed == SEEDS[0]}
    if not first:
        return [(rate, SEEDS[0]) for rate in GRID]
    order = ranked(losses, SEEDS[0])
    if order and order[0] in (min(first), max(first)) and len(first) < len(GRID) + WIDEST:
        return [(neighbour(order[0], 1 if order[0] == max(first) else -1), SEEDS[0])]
    return [(rate, seed) for rate in order[:2] for seed in SEEDS[1:] if (rate, seed) not in losses]


def choice(losses: Losses) -> float | None:
    """The rate with the lowest mean over all seeds; None where every cell diverged."""
    means = {}
    for rate, _ in losses:
        values = [losses.get((rate, seed)) for seed in SEEDS]
        if all(value is not None for value in values):
            means[rate] = sum(value for value in values if value is not None) / len(values)
    return min(means, key=lambda rate: means[rate]) if means else None


def run(method: str, cells: Iterable[tuple[float, int]], overrides: Sequence[str]) -> None:
    """Run cells of one seed in one process; those that diverge are told by their missing record."""
    for seed in sorted({seed for _, seed in cells}):
        rates = ",".join(str(rate) for rate, of in cells if of == seed)
        sweep = [f"method={method}", f"recipe.learning_rate={rates}", f"seed={seed}"]
        command = [sys.executable, "-m", "hycam_exp", "-m", *FIXED, *overrides, *sweep]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


def measured(folder: Path, method: str, cells: Iterable[tuple[float, int]]) -> Losses:
    """The best validation loss of each cell; None where it has no record, since it diverged."""
    losses: Losses = dict.fromkeys(cells)
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        config = record["config"]
        cell = (config["recipe"]["learning_rate"], config["seed"])
        if config["method"]["name"] == method and cell in losses:
            losses[cell] = record["fit"]["best_validation_loss"]
    return losses


def search(method: str, overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """The losses of a method's cells, and its choice."""
    losses: Losses = {}
    while cells := missing(losses):
        run(method, cells, overrides)
        losses |= measured(folder, method, cells)
    rows = [
        {"learning_rate": rate, "seed": seed, "validation_loss": losses[rate, seed]} for rate, seed in sorted(losses)
    ]
    return {"method": method, "cells": rows, "choice": choice(losses)}


def main() -> None:
    """Search, print, and write after every method."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--overrides", nargs="*", default=[], help="of the command, for every cell")
    parser.add_argument("--name", help="under which the result is kept; the method's name if left out")
    parser.add_argument("--folder", type=Path, default=Path("outputs/tuning"), help="for the cells' records")
    parser.add_argument("--out", type=Path, default=Path("results/tuning/mini.json"))
    arguments = parser.parse_args()
    for method in arguments.methods:
        compose("experiment=mini", f"method={method}", *arguments.overrides)  # a mistake is told before any cell
    for method in arguments.methods:
        name = arguments.name or method
        folder = arguments.folder / name
        places = (f"paths.results={folder}", f"paths.outputs={folder}/outputs")
        found = search(method, [*arguments.overrides, *places], folder / "runs")
        kept = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
        kept[name] = {**found, "overrides": arguments.overrides, "code": code_digest()}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{name}: {found['choice']}", flush=True)
        for row in found["cells"]:
            print(f"  {row['learning_rate']:g} seed {row['seed']}: {row['validation_loss']}", flush=True)


if __name__ == "__main__":
    main()
