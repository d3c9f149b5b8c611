"""Perplexity of every task by method: each run as a dot, their mean with its spread."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.lines import FigureLine, basis, mean_and_spread, place
from hycam_exp.report.figures.palette import TASKS, looks_of
from hycam_exp.report.figures.picture import Picture

COLUMNS = ("task", "method", "variant", "fold", "seed", "version", "ppl")


def draw(lines: Sequence[FigureLine]) -> list[Picture]:
    """The figure of lines with scores."""
    tasks = list(dict.fromkeys(task for line in lines for task in line.runs[0].tasks))
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
            of_runs = [run.score("ppl", task) for run in line.runs]
            axes.plot(of_runs, [height] * len(of_runs), "|", color=look.colour, alpha=0.6, markersize=6)
            axes.errorbar(
                mean, height, xerr=spread, color=look.colour, marker=look.marker, markerfacecolor=look.face, capsize=0
            )
            rows += [(task, *line.key, *place(run), v) for run, v in zip(line.runs, of_runs, strict=True)]
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(lines)), [line.label for line in lines])
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    runs = [run for line in lines for run in line.runs]
    figure.supxlabel(f"PPL (mean and s.d., each of {basis(lines)}){style.generated(runs)}", fontsize=8)
    return [Picture(name="tasks", figure=figure, columns=COLUMNS, rows=rows)]
