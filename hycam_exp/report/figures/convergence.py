"""Loss over steps, a line for each method with a band: over folds, and over seeds of one fold (as in the paper).

The two are figures of their own: a mean over seeds of one fold is not to be compared with one over folds.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hycam_exp.report.figures import style
from hycam_exp.report.figures.lines import FigureLine, basis, curve
from hycam_exp.report.figures.picture import Picture

CURVES = {"validation": "validation loss", "train": "training loss since\nthe last validation"}
COLUMNS = ("method", "variant", "curve", "step", "mean", "spread", "runs", "over", "version")
MARKED = 12  # at most about so many markers on a line


def draw(lines: Sequence[FigureLine], name: str) -> list[Picture]:
    """The figure, by its name. The ablations, where there are any, have panels of their own."""
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
        grid[-1, column].set_xlabel(f"optimiser step\n(band: s.d. over {_basis(members)})")
        handles, labels = grid[0, column].get_legend_handles_labels()
        grid[-1, column].legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    for row, text in enumerate(CURVES.values()):
        grid[row, 0].set_ylabel(text)
    rows = [
        (*line.key, kind, *point, len(line.runs), line.over, line.runs[0].version)
        for line in lines
        for kind in CURVES
        for point in curve(line, kind)
    ]
    return [Picture(name=name, figure=figure, columns=COLUMNS, rows=rows)]


def _basis(lines: Sequence[FigureLine]) -> str:
    """What a band is over: 5 folds, or 5 seeds of fold 0."""
    folds = {run.fold for line in lines for run in line.runs}
    of_fold = f" of fold {min(folds)}" if len(folds) == 1 and lines[0].over == "seed" else ""
    return f"{basis(lines)}{of_fold}"


def _panel(axes: Axes, lines: Sequence[FigureLine], name: str) -> None:
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
