"""Perplexity over one of HyCAM's settings: N_s (a figure of the paper) and tau (which the paper fixes)."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.lines import FigureLine, Sweep, Swept, basis, mean_and_spread, place, short
from hycam_exp.report.figures.palette import METHODS, Look, looks_of, variant_look
from hycam_exp.report.figures.picture import Picture


def draw(found: Swept, sweep: Sweep) -> list[Picture]:
    """The figure."""
    figure = Figure(figsize=(style.COLUMN, 2.5), layout="constrained")
    axes = figure.subplots()
    looks = looks_of([method for method, _ in found], METHODS)
    for method, look in looks.items():
        of_method = [by_value for (other, _), by_value in found.items() if other == method]
        tails = short([next(iter(by_value.values())).row.variant for by_value in of_method])
        for index, (by_value, tail) in enumerate(zip(of_method, tails, strict=True)):
            label = f"{look.name}, {tail}" if len(of_method) > 1 else look.name
            _line(axes, by_value, variant_look(look, index), label)
    lines = [line for by_value in found.values() for line in by_value.values()]
    if sweep.log:
        axes.set_xscale("log")
    ticks = sorted({value for by_value in found.values() for value in by_value})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(sweep.label)
    axes.set_ylabel(f"PPL (mean, s.d., {basis(lines)})")
    if len(found) > 1:
        figure.legend(loc="outside upper center", ncols=2)
    rows = [
        (*key, value, *place(run), run.score("ppl"))
        for key, by_value in found.items()
        for value, line in by_value.items()
        for run in line.runs
    ]
    columns = ("method", "variant", sweep.field, "fold", "seed", "version", "ppl")
    return [Picture(name=sweep.field, figure=figure, columns=columns, rows=rows)]


def _line(axes: Axes, lines: dict[float, FigureLine], look: Look, label: str) -> None:
    """Every fold as a dot, and through the values a line of means with bars of spreads."""
    for value, line in lines.items():
        axes.plot([value] * len(line.units), line.values("ppl") or [], ".", color=look.colour, alpha=0.35)
    means, spreads = zip(*(mean_and_spread(line.values("ppl") or []) for line in lines.values()), strict=True)
    axes.errorbar(
        list(lines), means, spreads, color=look.colour, linestyle=look.line, marker=look.marker,
        markerfacecolor=look.face, capsize=2, label=label,
    )  # fmt: skip
