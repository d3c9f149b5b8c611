"""What a method gains on the tasks against what it does to general text, both relative to the unadapted backbone."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style
from hycam_exp.report.figures.lines import Line, basis, mean_and_spread, place, versions
from hycam_exp.report.figures.palette import GREY
from hycam_exp.report.figures.picture import Plate
from hycam_exp.report.figures.selection import points

COLUMNS = ("method", "variant", "fold", "seed", "version", "ppl_before", "ppl", "gain", "general_text_change")


def draw(lines: Sequence[Line]) -> list[Plate]:
    """The figure of lines with both."""
    found = [(line, points(line) or []) for line in lines]
    figure = Figure(figsize=(style.COLUMN * 1.4, 3.6), layout="constrained")
    axes = figure.subplots()
    named = []
    for line, values in found:
        gain, gain_spread = mean_and_spread([100 * value[2] for value in values])
        change, change_spread = mean_and_spread([100 * value[3] for value in values])
        look = line.look
        axes.errorbar(
            gain, change, change_spread, gain_spread, color=look.colour, marker=look.marker,
            markerfacecolor=look.face, capsize=0, elinewidth=0.7, linestyle="none",
        )  # fmt: skip
        named.append(labels.Labelled(gain, change, line.label, look.colour, (gain_spread, change_spread)))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.margins(x=0.15, y=0.08)
    axes.set_xlabel(f"tasks: fall of PPL, % (mean and s.d. over {basis([line for line, _ in found])})")
    axes.set_ylabel("general text: rise of PPL, %")
    style.footnote(figure, versions([line for line, _ in found]))
    labels.place(axes, named)
    rows = [
        (*line.key, *place(record), *value)
        for line, values in found
        for record, value in zip(line.records, values, strict=True)
    ]
    return [Plate(name="retention", figure=figure, columns=COLUMNS, rows=rows)]
