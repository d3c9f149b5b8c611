"""Every figure that records alone give, and the command that makes the records of each."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hycam_exp.report.expected import command
from hycam_exp.report.figures import convergence, line, pareto, retention, routing, style, sweep, tasks
from hycam_exp.report.figures.drawn import Drawn
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.ground import by_mix
from hycam_exp.report.summary import Summary

_HANDFUL = 8  # figures of several plates in the time that another process takes to start

Place = tuple[str, str]
"""A backbone and data mix, by the name of its folder, and a figure."""
Files = Mapping[Place, list[Path]]
Mixes = Mapping[str, Sequence[Summary]]


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


def write_all(
    summaries: Sequence[Summary], folder: Path, drawn: Drawn | None = None, processes: int | None = None
) -> Files:
    """Draw what the records allow, in a folder for each backbone and data mix; the files' paths by mix and figure.

    What `drawn` knows to be there already, of the same records, is not drawn again. More than a handful is drawn by
    several processes, as many as this one has processors if it is not said how many: the files are the same.
    """
    mixes = by_mix(summaries)
    places = [(name, figure) for name in mixes for figure in CATALOGUE]
    files = {place: drawn.files("/".join(place), mixes[place[0]], folder) if drawn else None for place in places}
    new = [place for place in places if files[place] is None]
    for place, paths in zip(new, _written(mixes, new, folder, processes), strict=True):
        files[place] = paths
        if drawn:
            drawn.keep("/".join(place), mixes[place[0]], folder, paths)
    if drawn and new:
        drawn.save()
    return {place: paths or [] for place, paths in files.items()}


def _written(mixes: Mixes, places: Sequence[Place], folder: Path, processes: int | None) -> Iterator[list[Path]]:
    """The files of every place, as they are drawn."""
    number = min(processes or os.cpu_count() or 1, len(places) // _HANDFUL)
    if number < 2:
        for name, figure in places:
            yield _write(figure, mixes[name], folder / name)
        return
    packed = {name: pickle.dumps(members) for name, members in mixes.items()}  # once, not for every figure
    # Spawned: a fork would copy the locks of threads that it does not copy.
    with ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(
            _write_packed,
            [figure for _, figure in places],
            [packed[name] for name, _ in places],
            [folder / name for name, _ in places],
        )


def _write(figure: str, members: Sequence[Summary], folder: Path) -> list[Path]:
    with style.applied():
        return [path for plate in CATALOGUE[figure].draw(members) for path in plate.write(folder)]


def _write_packed(figure: str, members: bytes, folder: Path) -> list[Path]:
    return _write(figure, pickle.loads(members), folder)


def missing(summaries: Sequence[Summary], files: Files | None = None) -> list[tuple[str, str]]:
    """The figures that no backbone and data mix has records for, each with the command that makes them.

    `files` is what `write_all` gave for these summaries, where they were drawn.
    """
    mixes = by_mix(summaries) if files is None else {}
    there = {figure for (_, figure), paths in (files or {}).items() if paths}
    embedded = any(summary.model == "tiny_llama" for summary in summaries)
    return [
        (figure, command(entry.mini if embedded else entry.experiment))
        for figure, entry in CATALOGUE.items()
        if figure not in there and not any(entry.drawn(members) for members in mixes.values())
    ]
