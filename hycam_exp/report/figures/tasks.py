"""Perplexity of every task by method: each run as a dot, their mean with its spread."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.lines import Line, basis, mean_and_spread, place, versions
from hycam_exp.report.figures.palette import TASKS, looks_of
from hycam_exp.report.figures.picture import Plate
from hycam_exp.report.frame import tasks_of

COLUMNS = ("task", "method", "variant", "fold", "seed", "version", "ppl")


def draw(lines: Sequence[Line]) -> list[Plate]:
    """The figure of lines with scores."""
    tasks = list(dict.fromkeys(task for line in lines for task in tasks_of(line.records[0])))
    looks = looks_of(tasks, TASKS)
    figure = Figure(figsize=(style.PAGE, 0.8 + 0.2 * len(lines)), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    rows: list[tuple[object, ...]] = []
    for axes, task in zip(panels, tasks, strict=True):
        axes.set_title(looks[task].name)
        for height, line in enumerate(lines):
            values, look = line.values("ppl", task), line.look
            if values is None:
                continue
            mean, spread = mean_and_spread(values)
            axes.plot(values, [height] * len(values), "|", color=look.colour, alpha=0.6, markersize=6)
            axes.errorbar(
                mean, height, xerr=spread, color=look.colour, marker=look.marker, markerfacecolor=look.face, capsize=0
            )
            rows += [
                (task, *line.key, *place(record), value) for record, value in zip(line.records, values, strict=True)
            ]
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(lines)), [line.label for line in lines])
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    runs = [record for line in lines for record in line.records]
    figure.supxlabel(f"PPL (mean and s.d., each of {basis(lines)}){style.generated(runs)}", fontsize=8)
    panels[len(panels) // 2].set_xlabel(versions(lines), fontsize=6.5)
    return [Plate(name="tasks", figure=figure, columns=COLUMNS, rows=rows)]
