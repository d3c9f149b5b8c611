"""A learning rate for every method, chosen by the validation loss of fold 0 from one grid; no test split is touched.

python -m scripts.search_learning_rate [--methods lora hycam] [--overrides data.max_per_task=150] [--study NAME]

Half-decade steps from 1e-3 to 3e-2, extended where the best is at an edge; the best two again with a second seed; the
choice is the one with the lower mean. Cells that are finished are not run again.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.config import grid
from hycam_exp.config.compose import compose, config_dir
from hycam_exp.config.methods import METHODS
from hycam_exp.launch.cell_status import Inputs
from hycam_exp.records.store import Store
from hycam_exp.runtime.command_line import Parser, as_errors
from hycam_exp.runtime.files import write_atomically
from hycam_exp.runtime.require import require_plain_name

GRID = (1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (0, 1)
WIDEST = 4  # steps beyond an edge of the grid
FIXED = ("experiment=mini", "fold=0", "repetition=0", "evaluation.test=false", "evaluation.generate=false")
Cell = tuple[float, int]
"""Learning rate and seed."""
Losses = dict[Cell, float | None]


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


def missing(losses: Losses) -> list[Cell]:
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


def overrides_of(method: str, cell: Cell, overrides: Sequence[str]) -> list[str]:
    """The command line's of a cell."""
    rate, seed = cell
    return [*FIXED, *overrides, f"method={method}", f"recipe.learning_rate={rate}", f"seed={seed}"]


def start(method: str, cells: Iterable[Cell], overrides: Sequence[str]) -> None:
    """Run cells of one seed in one process; what became of them is read from what they leave."""
    for seed in sorted({seed for _, seed in cells}):
        rates = ",".join(str(rate) for rate, of in cells if of == seed)
        sweep = [f"method={method}", f"recipe.learning_rate={rates}", f"seed={seed}"]
        command = [sys.executable, "-m", "hycam_exp", "-m", *FIXED, *overrides, *sweep]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


@dataclass(frozen=True)
class Outcome:
    """Of a cell: its best validation loss, None where it diverged, and the version of its results."""

    loss: float | None
    version: int | None


def outcome(method: str, cell: Cell, overrides: Sequence[str], inputs: Inputs) -> Outcome:
    """What became of a cell, by its id.

    Raises:
        ValueError: it has neither a record nor diverged; says why.
    """
    from hycam_exp.training.fit import NonFiniteLossError

    (run,) = grid.runs(grid.expand(overrides_of(method, cell, overrides), multirun=True))
    run_id, store = inputs.run_id(run), Store.of(run)
    record = store.read(run_id)
    if record is not None:
        return Outcome(record.fit.best_validation_loss, record.results_version)
    failures = store.failures(run_id)
    if failures and failures[-1]["error"] == NonFiniteLossError.__name__:
        return Outcome(None, None)
    why = failures[-1]["message"] if failures else "it left neither a record nor a failure"
    raise ValueError(f"{run_id}: {why}; see {store.folder(run_id)}, the same command goes on from what is finished")


def search(method: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The losses of a method's cells, and its choice.

    Raises:
        ValueError: a cell failed by something else than divergence.
    """
    outcomes: dict[Cell, Outcome] = {}
    inputs = Inputs()
    while cells := missing({cell: found.loss for cell, found in outcomes.items()}):
        start(method, cells, overrides)
        outcomes |= {cell: outcome(method, cell, overrides, inputs) for cell in cells}
    rows = [
        {"learning_rate": rate, "seed": seed, "validation_loss": found.loss, "version": found.version}
        for (rate, seed), found in sorted(outcomes.items(), key=lambda item: item[0])
    ]
    return {"method": method, "cells": rows, "choice": choice({cell: o.loss for cell, o in outcomes.items()})}


def main() -> None:
    """Search, print, and write after every method."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    files = sorted(path.stem for path in (config_dir() / "method").glob("*.yaml"))
    default = [name for name in METHODS if name in files and name != "peft"]
    parser.add_argument("--methods", nargs="+", default=default, choices=files, help="default: all that live here")
    parser.add_argument("--overrides", nargs="*", default=[], help="of the command, for every cell")
    parser.add_argument("--name", help="under which the result is kept; the method's name if left out")
    parser.add_argument("--folder", type=Path, default=Path("outputs/tuning"), help="for the cells' records")
    parser.add_argument("--study", default="mini", help="they go to results/studies/NAME/tuning.json")
    parser.add_argument("--out", type=Path, help="another file for them")
    arguments = parser.parse_args()
    try:
        require_plain_name("--study", arguments.study)
    except ValueError as error:
        sys.exit(as_errors(error))
    out = arguments.out or Path("results") / "studies" / arguments.study / "tuning.json"
    for method in arguments.methods:
        compose("experiment=mini", f"method={method}", *arguments.overrides)  # a mistake is told before any cell
    for method in arguments.methods:
        name = arguments.name or method
        folder = arguments.folder / name
        places = (f"paths.results={folder}", f"paths.outputs={folder}/outputs")
        try:
            found = search(method, [*arguments.overrides, *places])
        except ValueError as error:
            sys.exit(as_errors(error))
        kept = json.loads(out.read_text()) if out.is_file() else {}
        kept[name] = {**found, "overrides": arguments.overrides}
        write_atomically(out, (json.dumps(kept, indent=1) + "\n").encode())
        print(f"{name}: {found['choice']}", flush=True)
        for row in found["cells"]:
            print(f"  {row['learning_rate']:g} seed {row['seed']}: {row['validation_loss']}", flush=True)


if __name__ == "__main__":
    main()
