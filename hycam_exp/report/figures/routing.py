"""How a trained router spreads its weight: layers x modules, a panel for each task, from one run.

Of one run and not of a mean: a module's number says nothing across folds and seeds.
"""

import math
import re
from collections.abc import Sequence

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.lines import FigureLine, place
from hycam_exp.report.figures.palette import TASKS, looks_of
from hycam_exp.report.figures.picture import Picture
from hycam_exp.report.frame import FinishedRun

COLUMNS = ("fold", "seed", "version", "task", "layer", "module", "weight", "entropy", "tokens")
NAMED = 64  # of more layers than these, only the first of a block is named


def draw(lines: Sequence[FigureLine]) -> list[Picture]:
    """A figure for each line that routes."""
    return [_picture(line, line.runs[0]) for line in lines]


def _picture(line: FigureLine, run: FinishedRun) -> Picture:
    rows = run.routing
    layers = list(dict.fromkeys(row.layer for row in rows))
    routed = {row.task for row in rows}
    order = [task for task in run.named_tasks if task in routed]
    tasks = [*order, *sorted(routed - set(order))]
    looks = looks_of(tasks, TASKS)
    few = len(layers) <= 16
    height = max(2.2, 1.35 + min(len(layers) * (0.16 if few else 0.12), 7))
    figure = Figure(figsize=(style.PAGE, height), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    largest = max(max(row.weights) for row in rows)
    most = max(len(row.weights) for row in rows)
    by_place = {(row.layer, row.task): row.weights for row in rows}
    for axes, task in zip(panels, tasks, strict=True):
        known = [by_place.get((layer, task), []) for layer in layers]
        weights = [[*row, *[math.nan] * (most - len(row))] for row in known]
        image = axes.imshow(
            weights, cmap=style.SEQUENTIAL, vmin=0, vmax=largest, aspect="auto", interpolation="nearest"
        )
        axes.set_title(looks[task].name)
        axes.set_xticks(range(most))
        axes.set_yticks([])
        axes.grid(visible=False)
    names = short_layers(layers)
    ticks = [i for i in range(len(names)) if len(names) <= NAMED or i == 0 or _block(names[i]) != _block(names[i - 1])]
    named = [names[i] if len(names) <= NAMED else _block(names[i]) for i in ticks]
    panels[0].set_yticks(ticks, named, fontsize=None if few else 5.5)
    panels[0].set_ylabel("block" if all(name.isdigit() for name in named) else "block and layer")
    panels[len(panels) // 2].set_xlabel("module")
    share = 1 / most
    bar = figure.colorbar(image, ax=list(panels), label=f"mean weight (even: {share:.2f})", pad=0.01)
    bar.ax.axhline(share, color="white", linewidth=1)
    figure.suptitle(
        f"{line.label}, fold {run.fold}, seed {run.seed}{style.generated([run])}",
        fontsize=8,
    )
    data = [
        (*place(run), row.task, row.layer, module, weight, row.entropy, row.tokens)
        for row in rows
        for module, weight in enumerate(row.weights)
    ]
    return Picture(name=f"routing-{line.file_name}", figure=figure, columns=COLUMNS, rows=data)


def _block(name: str) -> str:
    return name.split(" ")[0]


def short_layers(layers: Sequence[str]) -> list[str]:
    """The block's number; where a block has several layers, the name as well (layers.0.mlp.up_proj: 0 up_proj)."""
    found = [re.search(r"\.(\d+)\.(?:.*\.)?(\w+)$", layer) for layer in layers]
    blocks = [match.group(1) if match else layer for match, layer in zip(found, layers, strict=True)]
    if len(set(blocks)) == len(blocks):
        return blocks
    return [
        f"{match.group(1)} {match.group(2)}" if match else layer for match, layer in zip(found, layers, strict=True)
    ]
