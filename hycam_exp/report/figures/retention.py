"""What a method gains on the tasks against what it does to general text, both relative to the unadapted backbone."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style
from hycam_exp.report.figures.lines import FigureLine, basis, gain, mean_and_spread, place
from hycam_exp.report.figures.palette import GREY
from hycam_exp.report.figures.picture import Picture

COLUMNS = ("method", "variant", "fold", "seed", "version", "ppl_before", "ppl", "gain", "general_text_change")


def draw(lines: Sequence[FigureLine]) -> list[Picture]:
    """The figure of lines with both."""
    figure = Figure(figsize=(style.COLUMN * 1.4, 3.6), layout="constrained")
    axes = figure.subplots()
    named = []
    for line in lines:
        fall, fall_spread = _percent(line, 2)
        change, change_spread = _percent(line, 3)
        look = line.look
        axes.errorbar(
            fall, change, change_spread, fall_spread, color=look.colour, marker=look.marker,
            markerfacecolor=look.face, capsize=0, elinewidth=0.7, linestyle="none",
        )  # fmt: skip
        named.append(labels.Labelled(fall, change, line.label, look.colour, (fall_spread, change_spread)))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.margins(x=0.15, y=0.08)
    axes.set_xlabel(f"tasks: fall of PPL, % (mean and s.d. over {basis(lines)})")
    axes.set_ylabel("general text: rise of PPL, %")
    labels.place(axes, named)
    rows = [(*line.key, *place(run), *(gain(run) or ())) for line in lines for run in line.runs]
    return [Picture(name="retention", figure=figure, columns=COLUMNS, rows=rows)]


def _percent(line: FigureLine, part: int) -> tuple[float, float]:
    """Mean and spread of a part of `gain`."""
    found = line.of_units(lambda run: 100 * of_run[part] if (of_run := gain(run)) else None)
    assert found is not None, "of a line with both"
    return mean_and_spread(found)
