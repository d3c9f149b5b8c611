"""Every figure that records alone give, and the command that makes the records of each."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from hycam_exp.report import titles
from hycam_exp.report.experiments import command
from hycam_exp.report.figures import selection
from hycam_exp.report.figures.drawn import Drawn
from hycam_exp.report.figures.lines import Shown, scored
from hycam_exp.report.ground import by_mix
from hycam_exp.report.select import Summary

if TYPE_CHECKING:
    from hycam_exp.report.figures.picture import Plate

_FEW = 3  # figures: fewer are drawn before another process has started

Place = tuple[str, str]
"""A backbone and data mix, by the name of its folder, and a figure."""
Files = Mapping[Place, list[Path]]
Select = Callable[[Sequence[Summary]], Shown]


@dataclass(frozen=True)
class Entry:
    """A figure that records give."""

    shown: Select
    """What of the summaries is in it."""
    module: str
    """Of this package, with `draw`; imported where a figure is drawn, for it imports matplotlib."""
    experiment: str
    """The experiment (conf/experiment) that makes its records."""
    mini: str
    """The experiment that does so on the embedded backbone."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `draw`."""

    def draw(self, shown: Shown) -> list["Plate"]:
        """The plates of what is shown."""
        module = import_module(f"{__package__}.{self.module}")
        plates: list[Plate] = module.draw(shown, **self.arguments)
        return plates


def _convergence(select: Select, name: str, experiment: str, mini: str) -> Entry:
    return Entry(select, "convergence", experiment, mini, {"name": name})


def _sweep(sweep: selection.Sweep) -> Entry:
    select = partial(selection.settings, sweep=sweep)
    return Entry(select, "sweep", f"figure_{sweep.field}", f"mini_{sweep.field}", {"sweep": sweep})


CATALOGUE = {
    "convergence": _convergence(selection.with_curves, "convergence", "table2_main", "mini"),
    "loss_curves": _convergence(selection.with_seeds, "loss_curves", "figure_loss_curves", "mini_loss_curves"),
    "num_specialized": _sweep(selection.NUM_SPECIALIZED),
    "tau": _sweep(selection.TAU),
    "pareto": Entry(scored, "pareto", "table2_main", "mini"),
    "tasks": Entry(scored, "tasks", "table5_tasks", "mini"),
    "retention": Entry(selection.with_both, "retention", "table2_main", "mini"),
    "routing": Entry(selection.routed, "routing", "table2_main", "mini"),
}


class Drawing:
    """The figures of some summaries, drawn by other processes while this one goes on.

    They go in a folder for each backbone and data mix. What `drawn` knows to be there already, of the same records, is
    not drawn again. A few are drawn by this process when they are asked for. There are as many processes as processors
    if it is not said how many: the files are the same. Leaving the context gives up what is not drawn yet.

    with Drawing(summaries, folder) as drawing:
        ...  # something else
        files = drawing.files()
    """

    def __init__(
        self, summaries: Sequence[Summary], folder: Path, drawn: Drawn | None = None, processes: int | None = None
    ) -> None:
        self.folder, self.drawn = folder, drawn
        mixes = by_mix(summaries).items()
        self._shown = {(mix, name): entry.shown(of_mix) for mix, of_mix in mixes for name, entry in CATALOGUE.items()}
        self._known = {
            place: [] if not shown else drawn.files("/".join(place), shown, folder) if drawn else None
            for place, shown in self._shown.items()
        }
        self._new = [place for place, files in self._known.items() if files is None]
        number = min(processes or os.cpu_count() or 1, -(-len(self._new) // _FEW))
        # Spawned: a fork would copy the locks of threads that it does not copy.
        self._pool = ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) if number > 1 else None

    def __enter__(self) -> Self:
        tasks = [(figure, self._shown[mix, figure], self.folder / mix) for mix, figure in self._new]
        self._written = self._pool.map(_write, tasks) if self._pool else map(_write, tasks)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def files(self) -> Files:
        """The files' paths by mix and figure, once all are drawn."""
        written = tqdm(self._written, "figures", len(self._new), unit="figure", disable=None, leave=False)
        for place, paths in zip(self._new, written, strict=True):
            self._known[place] = paths
            if self.drawn:
                self.drawn.keep("/".join(place), self._shown[place], self.folder, paths)
        if self.drawn and self._new:
            self.drawn.save()
        return {place: paths or [] for place, paths in self._known.items()}


def write_all(summaries: Sequence[Summary], folder: Path, processes: int | None = None) -> Files:
    """Draw what the records allow, and wait for it; the files' paths by mix and figure."""
    with Drawing(summaries, folder, processes=processes) as drawing:
        return drawing.files()


def _write(task: tuple[str, Shown, Path]) -> list[Path]:
    from hycam_exp.report.figures import style

    figure, shown, folder = task
    with style.applied():
        return [path for plate in CATALOGUE[figure].draw(shown) for path in plate.write(folder)]


def missing(summaries: Sequence[Summary], files: Files) -> list[tuple[str, str]]:
    """The figures that no backbone and data mix has records for, each with the command that makes them.

    `files` is what drawing these summaries gave. No experiment is of a backbone of the user's own.
    """
    embedded = any(summary.model == "tiny_llama" for summary in summaries)
    if summaries and not embedded and not any(summary.model in titles.MODELS for summary in summaries):
        return []
    there = {figure for (_, figure), paths in files.items() if paths}
    return [
        (figure, command(entry.mini if embedded else entry.experiment))
        for figure, entry in CATALOGUE.items()
        if figure not in there
    ]
