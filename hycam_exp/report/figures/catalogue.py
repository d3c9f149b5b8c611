"""Every figure that records alone give, and the command that makes the records of each."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hycam_exp.report.expected import command
from hycam_exp.report.figures import convergence, line, pareto, retention, routing, style, sweep, tasks
from hycam_exp.report.figures.drawn import Drawn
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.ground import by_mix
from hycam_exp.report.summary import Summary


@dataclass(frozen=True)
class Entry:
    """A figure that records give."""

    drawn: Callable[[Sequence[Summary]], Collection[object]]
    """What of the summaries is in it: where nothing is, there is no figure."""
    draw: Callable[[Sequence[Summary]], list[Plate]]
    experiment: str
    """The experiment (conf/experiment) that makes its records."""
    mini: str
    """The experiment that does so on the embedded backbone."""


CATALOGUE = {
    "convergence": Entry(convergence.drawn, convergence.draw, "table2_main", "mini"),
    "loss_curves": Entry(
        convergence.drawn_over_seeds, convergence.draw_over_seeds, "figure_loss_curves", "mini_loss_curves"
    ),
    "num_specialized": Entry(
        partial(sweep.drawn, sweep=sweep.NUM_SPECIALIZED),
        partial(sweep.draw, sweep=sweep.NUM_SPECIALIZED),
        "figure_num_specialized",
        "mini_num_specialized",
    ),
    "tau": Entry(partial(sweep.drawn, sweep=sweep.TAU), partial(sweep.draw, sweep=sweep.TAU), "figure_tau", "mini_tau"),
    "pareto": Entry(line.scored, pareto.draw, "table2_main", "mini"),
    "tasks": Entry(line.scored, tasks.draw, "table5_tasks", "mini"),
    "retention": Entry(retention.drawn, retention.draw, "table2_main", "mini"),
    "routing": Entry(routing.drawn, routing.draw, "table2_main", "mini"),
}


def write_all(summaries: Sequence[Summary], folder: Path, drawn: Drawn | None = None) -> list[Path]:
    """Draw what the records allow, in a folder for each backbone and data mix; the files' paths.

    What `drawn` knows to be there already, of the same records, is not drawn again.
    """
    written = []
    with style.applied():
        for name, members in by_mix(summaries).items():
            for figure, entry in CATALOGUE.items():
                place = f"{name}/{figure}"
                known = drawn.files(place, members, folder) if drawn else None
                if known is None:
                    known = [path for plate in entry.draw(members) for path in plate.write(folder / name)]
                    if drawn:
                        drawn.keep(place, members, folder, known)
                written += known
    return written


def missing(summaries: Sequence[Summary]) -> list[tuple[str, str]]:
    """The figures that no backbone and data mix has records for, each with the command that makes them."""
    mixes = by_mix(summaries).values()
    embedded = any(summary.model == "tiny_llama" for summary in summaries)
    return [
        (figure, command(entry.mini if embedded else entry.experiment))
        for figure, entry in CATALOGUE.items()
        if not any(entry.drawn(members) for members in mixes)
    ]
