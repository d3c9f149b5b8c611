"""What perplexity costs: against trainable parameters, seconds of training and peak memory."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style
from hycam_exp.report.figures.lines import Line, basis, mean_and_spread, place, versions
from hycam_exp.report.figures.palette import GREY
from hycam_exp.report.figures.picture import Plate
from hycam_exp.runs import RunRecord

COLUMNS = (
    "method", "variant", "fold", "seed", "version", "ppl", "parameters_trainable", "train_seconds", "peak_memory_bytes",
    "memory_kind", "device",
)  # fmt: skip
GIB = 2**30

Cost = Callable[[RunRecord], float | None]


def parameters(record: RunRecord) -> float | None:
    """Trained parameters."""
    return record.counts.get("parameters_trainable")


def seconds(record: RunRecord) -> float | None:
    """Seconds of training alone."""
    return record.cost.get("seconds", {}).get("train")


def memory(record: RunRecord) -> float | None:
    """Peak memory of the whole run in bytes: the device's, or on CPU the process's."""
    return (record.cost.get("peak_memory") or {}).get("bytes")


def draw(lines: Sequence[Line]) -> list[Plate]:
    """The figure of lines with scores. A setting that lacks a cost is left out of its panel."""
    kinds = sorted({str((r.cost.get("peak_memory") or {}).get("kind")) for line in lines for r in line.records})
    panels: list[tuple[str, Cost, float]] = [
        ("trained parameters", parameters, 1),
        ("seconds of training", seconds, 1),
        (f"peak memory ({', '.join(kinds)}), GiB", memory, GIB),
    ]
    figure = Figure(figsize=(style.COLUMN * 1.25, 7.6), layout="constrained")
    for axes, (label, cost, unit) in zip(figure.subplots(3, 1), panels, strict=True):
        _panel(axes, lines, cost, unit)
        axes.set_xlabel(label)
        axes.set_ylabel("PPL")
    style.footnote(figure, versions(lines))
    figure.suptitle(f"mean and s.d. over {basis(lines)}; dashed: Pareto front", fontsize=7)
    for axes, (_, cost, unit) in zip(figure.axes, panels, strict=True):
        labels.place(axes, _named(lines, cost, unit))
    rows = [
        (
            *line.key, *place(record), record.score("ppl", "mean"), parameters(record), seconds(record), memory(record),
            (record.cost.get("peak_memory") or {}).get("kind"), (record.cost.get("hardware") or {}).get("device"),
        )
        for line in lines
        for record in line.records
    ]  # fmt: skip
    return [Plate(name="pareto", figure=figure, columns=COLUMNS, rows=rows)]


def _costs(line: Line, cost: Cost, unit: float) -> tuple[float, float] | None:
    """Mean and spread over the runs; None if one of them lacks it."""
    found = [cost(record) for record in line.records]
    known = [value / unit for value in found if value is not None]
    return mean_and_spread(known) if len(known) == len(found) else None


def _panel(axes: Axes, lines: Sequence[Line], cost: Cost, unit: float) -> None:
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
    """The points that no other beats in both, from cheap to dear."""
    found: list[tuple[float, float]] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def _named(lines: Sequence[Line], cost: Cost, unit: float) -> list[labels.Labelled]:
    found = []
    for line in lines:
        at, score = _costs(line, cost, unit), mean_and_spread(line.values("ppl") or [])
        if at is not None:
            found.append(labels.Labelled(at[0], score[0], line.label, line.look.colour, (at[1], score[1])))
    return found
