"""Perplexity over one of HyCAM's settings: N_s (a figure of the paper) and tau (which the paper fixes)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.line import (
    ASIDE,
    Line,
    basis,
    mean_and_spread,
    place,
    setting,
    short,
    swept,
    unswitched,
    versions,
    without,
)
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.summary import Summary


@dataclass(frozen=True)
class Sweep:
    """A swept field."""

    field: str
    label: str
    log: bool


NUM_SPECIALIZED = Sweep("num_specialized", "number of specialized CAMs", log=False)
TAU = Sweep("tau", "temperature tau", log=True)


Settings = dict[tuple[str, str], dict[float, Line]]
"""For every method and variant, a line for each value."""


def drawn(summaries: Sequence[Summary], sweep: Sweep) -> Settings:
    """The settings that several values were tried of, with the values that have scores, in order."""
    alike: dict[tuple[str, str], dict[float, list[Summary]]] = {}
    for summary in unswitched(summaries):
        value = setting(summary, sweep.field)
        if isinstance(value, int | float):
            key = summary.method, without(summary.variant, *ASIDE, sweep.field)
            alike.setdefault(key, {}).setdefault(value, []).append(summary)
    found: Settings = {}
    for key, by_value in sorted(alike.items()):
        lines = {value: swept(by_value[value]) for value in sorted(by_value)}
        scored = {value: line for value, line in lines.items() if line.values("ppl") is not None}
        if len(scored) > 1:
            found[key] = scored
    return found


def draw(summaries: Sequence[Summary], sweep: Sweep) -> list[Plate]:
    """The figure; none where fewer than two values have scores."""
    found = drawn(summaries, sweep)
    if not found:
        return []
    figure = Figure(figsize=(style.COLUMN, 2.5), layout="constrained")
    axes = figure.subplots()
    looks = style.looks([method for method, _ in found], style.METHODS)
    for method, look in looks.items():
        variants = [variant for other, variant in found if other == method]
        for index, (variant, tail) in enumerate(short(variants).items()):
            label = f"{look.name}, {tail}" if len(variants) > 1 else look.name
            _line(axes, found[method, variant], style.variant_look(look, index), label)
    lines = [line for by_value in found.values() for line in by_value.values()]
    if sweep.log:
        axes.set_xscale("log")
    ticks = sorted({value for by_value in found.values() for value in by_value})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(sweep.label)
    axes.set_ylabel(f"PPL (mean, s.d., {basis(lines)})")
    style.footnote(figure, versions(lines))
    if len(found) > 1:
        figure.legend(loc="outside upper center", ncols=2)
    rows = [
        (*key, value, *place(record), record.score("ppl", "mean"))
        for key, by_value in found.items()
        for value, line in by_value.items()
        for record in line.records
    ]
    columns = ("method", "variant", sweep.field, "fold", "seed", "code", "ppl")
    return [Plate(name=sweep.field, figure=figure, columns=columns, rows=rows)]


def _line(axes: Axes, lines: dict[float, Line], look: style.Look, label: str) -> None:
    """Every run as a dot, and through the values a line of means with bars of spreads."""
    for value, line in lines.items():
        axes.plot([value] * len(line.records), line.values("ppl") or [], ".", color=look.colour, alpha=0.35)
    means, spreads = zip(*(mean_and_spread(line.values("ppl") or []) for line in lines.values()), strict=True)
    axes.errorbar(
        list(lines), means, spreads, color=look.colour, linestyle=look.line, marker=look.marker,
        markerfacecolor=look.face, capsize=2, label=label,
    )  # fmt: skip
