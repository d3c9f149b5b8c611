"""Loss over steps, a line for each method with a band: over folds, and over seeds of one fold (as in the paper).

The two are figures of their own: a mean over seeds of one fold is not to be compared with one over folds.
"""

import itertools
import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hycam_exp.report.figures import style
from hycam_exp.report.figures.line import Line, basis, mean_and_spread, over_folds, over_seeds, versions
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.summary import Summary
from hycam_exp.runs import RunRecord

CURVES = {"validation": "validation loss", "train": "training loss since\nthe last validation"}
COLUMNS = ("method", "variant", "curve", "step", "mean", "spread", "runs", "over", "code")
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
    """The settings with curves, over folds."""
    return [line for line in over_folds(summaries) if curve(line, "validation")]


def drawn_over_seeds(summaries: Sequence[Summary]) -> list[Line]:
    """The settings with curves of several seeds of one fold, where there are two to compare."""
    found = [line for line in over_seeds(summaries) if curve(line, "validation")]
    return found if len(found) > 1 else []


def draw(summaries: Sequence[Summary]) -> list[Plate]:
    """The figure over folds; none where no record has curves."""
    return _plates("convergence", drawn(summaries))


def draw_over_seeds(summaries: Sequence[Summary]) -> list[Plate]:
    """The figure over seeds; none where no two settings were run with several."""
    return _plates("loss_curves", drawn_over_seeds(summaries))


def _plates(name: str, lines: Sequence[Line]) -> list[Plate]:
    """The figure of some lines. The ablations, where there are any, have panels of their own."""
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
        for row, kind in enumerate(CURVES):
            _panel(grid[row, column], members, kind)
        grid[0, column].set_title(title if len(panels) > 1 else "")
        grid[-1, column].set_xlabel(f"optimiser step (band: s.d. over {_basis(members)})")
        handles, labels = grid[0, column].get_legend_handles_labels()
        grid[-1, column].legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    style.footnote(figure, versions(lines))
    for row, text in enumerate(CURVES.values()):
        grid[row, 0].set_ylabel(text)
    rows = [
        (*line.key, kind, *point, len(line.records), line.over, line.code)
        for line in lines
        for kind in CURVES
        for point in curve(line, kind)
    ]
    return [Plate(name=name, figure=figure, columns=COLUMNS, rows=rows)]


def _basis(lines: Sequence[Line]) -> str:
    """What a band is over: 5 folds, or 5 seeds of fold 0."""
    folds = {record.config["fold"] for line in lines for record in line.records}
    of_fold = f" of fold {min(folds)}" if len(folds) == 1 and lines[0].over == "seed" else ""
    return f"{basis(lines)}{of_fold}"


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
