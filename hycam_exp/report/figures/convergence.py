"""Loss over steps, a line for each method with a band over seeds or folds (the paper's figure of convergence)."""

import itertools
import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hycam_exp.report.figures import style
from hycam_exp.report.figures.line import Line, basis, mean_and_spread, over_seeds
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.summary import Summary
from hycam_exp.runs import RunRecord

CURVES = {"validation": "validation loss", "train": "training loss since\nthe last validation"}
COLUMNS = ("method", "variant", "curve", "step", "mean", "spread", "runs", "over")
MARKED = 12  # at most about so many markers on a line

Point = tuple[float, float, float]  # step, mean, spread


def losses(record: RunRecord, name: str) -> list[tuple[float, float]]:
    """Steps and losses of a run.

    A batch holds texts of one length, so that training losses jump: they are averaged from validation to validation.
    """
    validations = [(row["step"], row["loss"]) for row in record.curves.get("validation") or []]
    if name == "validation":
        return validations
    steps, found = record.curves.get("train") or [], []
    for before, after in itertools.pairwise([0, *(step for step, _ in validations)]):
        part = [row["loss"] for row in steps if before < row["step"] <= after]
        if part:
            found.append((after, statistics.fmean(part)))
    return found


def curve(line: Line, name: str) -> list[Point]:
    """Mean and spread of the runs' losses, taken in order and as far as every run went.

    Validations of different folds come after the same share of an epoch, not after the same step: the step is the mean.
    """
    runs = [losses(record, name) for record in line.records]
    points = []
    for rows in zip(*runs, strict=False):
        step, _ = mean_and_spread([step for step, _ in rows])
        mean, spread = mean_and_spread([loss for _, loss in rows])
        points.append((step, mean, spread))
    return points


def drawn(summaries: Sequence[Summary]) -> list[Line]:
    """The settings with curves."""
    return [line for line in over_seeds(summaries) if curve(line, "validation")]


def draw(summaries: Sequence[Summary]) -> list[Plate]:
    """The figure; none where no record has curves. The ablations, where there are any, have panels of their own."""
    lines = drawn(summaries)
    if not lines:
        return []
    ablations = [line for line in lines if line.method.startswith("hycam_")]
    methods = [line for line in lines if line not in ablations]
    hycam = [line for line in lines if line.method == "hycam"]
    panels = {"Methods": methods, "HyCAM and its ablations": [*hycam, *ablations] if ablations else []}
    panels = {title: members for title, members in panels.items() if members}
    figure = Figure(figsize=(style.PAGE if len(panels) > 1 else style.COLUMN, 4.9), layout="constrained")
    grid = figure.subplots(len(CURVES), len(panels), sharex=True, sharey="row", squeeze=False)
    for column, (title, members) in enumerate(panels.items()):
        for row, name in enumerate(CURVES):
            _panel(grid[row, column], members, name)
        grid[0, column].set_title(title)
        grid[-1, column].set_xlabel(f"optimiser step (band: s.d. over {basis(members)})")
        handles, labels = grid[0, column].get_legend_handles_labels()
        grid[-1, column].legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    for row, text in enumerate(CURVES.values()):
        grid[row, 0].set_ylabel(text)
    rows = [
        (*line.key, name, *point, len(line.records), line.over)
        for line in lines
        for name in CURVES
        for point in curve(line, name)
    ]
    return [Plate(name="convergence", figure=figure, columns=COLUMNS, rows=rows)]


def _panel(axes: Axes, lines: Sequence[Line], name: str) -> None:
    axes.set_yscale("log")
    for order, line in enumerate(lines):
        points = curve(line, name)
        if not points:
            continue
        steps, means, spreads = zip(*points, strict=True)
        low = [max(mean - spread, mean / 10) for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        look = line.look
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.13, linewidth=0)
        every = max(1, len(steps) // MARKED)
        axes.plot(
            steps, means, color=look.colour, linestyle=look.line, marker=look.marker, markerfacecolor=look.face,
            markevery=(order % every, every), label=line.label, zorder=3 if line.method == "hycam" else 2,
        )  # fmt: skip
    style.plain_numbers(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
