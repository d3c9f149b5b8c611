"""What perplexity costs: against trainable parameters, seconds of training and peak memory."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style
from hycam_exp.report.figures.lines import FigureLine, basis, mean_and_spread, place
from hycam_exp.report.figures.palette import GREY
from hycam_exp.report.figures.picture import Picture
from hycam_exp.report.frame import FinishedRun

COLUMNS = (
    "method", "variant", "fold", "seed", "version", "ppl", "parameters_trainable", "train_seconds", "peak_memory_bytes",
    "memory_kind", "device",
)  # fmt: skip
GIB = 2**30

Cost = Callable[[FinishedRun], float | None]


def parameters(run: FinishedRun) -> float | None:
    """Trained parameters."""
    return run.parameters


def draw(lines: Sequence[FigureLine]) -> list[Picture]:
    """The figure of lines with scores. A setting that lacks a cost is left out of its panel."""
    kinds = sorted({str(run.memory_kind) for line in lines for run in line.runs})
    panels: list[tuple[str, Cost, float]] = [
        ("trained parameters", parameters, 1),
        ("seconds of training", lambda run: run.train_seconds, 1),
        (f"peak memory ({', '.join(kinds)}), GiB", lambda run: run.memory, GIB),
    ]
    figure = Figure(figsize=(style.COLUMN * 1.25, 7.6), layout="constrained")
    for axes, (label, cost, unit) in zip(figure.subplots(3, 1), panels, strict=True):
        _panel(axes, lines, cost, unit)
        axes.set_xlabel(label)
        axes.set_ylabel("PPL")
    figure.suptitle(f"mean and s.d. over {basis(lines)}; dashed: Pareto front", fontsize=7)
    for axes, (_, cost, unit) in zip(figure.axes, panels, strict=True):
        labels.place(axes, _named(lines, cost, unit))
    rows = [
        (
            *line.key, *place(run), run.score("ppl"), run.parameters, run.train_seconds, run.memory, run.memory_kind,
            run.device,
        )
        for line in lines
        for run in line.runs
    ]  # fmt: skip
    return [Picture(name="pareto", figure=figure, columns=COLUMNS, rows=rows)]


def _costs(line: FigureLine, cost: Cost, unit: float) -> tuple[float, float] | None:
    """Mean and spread; None if a run lacks it."""
    found = line.of_units(cost)
    return None if found is None else mean_and_spread([value / unit for value in found])


def _panel(axes: Axes, lines: Sequence[FigureLine], cost: Cost, unit: float) -> None:
    points = []
    for line in lines:
        at, score = _costs(line, cost, unit), mean_and_spread(line.values("ppl") or [])
        if at is None:
            continue
        look = line.look
        axes.errorbar(
            at[0], score[0], score[1], at[1] or None, color=look.colour, marker=look.marker,
            markerfacecolor=look.face, capsize=0, elinewidth=0.7, linestyle="none",
        )  # fmt: skip
        points.append((at[0], score[0]))
    if cost is parameters:
        axes.set_xscale("log")
        style.counted_numbers(axes.xaxis)
    front = frontier(points)
    axes.plot([cost for cost, _ in front], [ppl for _, ppl in front], "--", color=GREY, linewidth=0.8, zorder=1)
    axes.margins(x=0.22, y=0.14)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both, from the cheapest on."""
    found: list[tuple[float, float]] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def _named(lines: Sequence[FigureLine], cost: Cost, unit: float) -> list[labels.Labelled]:
    found = []
    for line in lines:
        at, score = _costs(line, cost, unit), mean_and_spread(line.values("ppl") or [])
        if at is not None:
            found.append(labels.Labelled(at[0], score[0], line.label, line.look.colour, (at[1], score[1])))
    return found
