"""Every figure that records alone give, and the command that makes the records of each."""

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from hycam_exp.report import titles
from hycam_exp.report.cache import Cache, digest
from hycam_exp.report.experiments import command
from hycam_exp.report.figures import lines
from hycam_exp.report.figures.lines import Shown, all_lines
from hycam_exp.report.select import SelectedRow, Selection
from hycam_exp.runtime.cost import usable_cores

if TYPE_CHECKING:
    from hycam_exp.report.figures.picture import Picture

_FEW = 3  # figures: fewer are drawn before another process has started

Place = tuple[str, str]
"""A backbone and data mix, by the name of its folder, and a figure."""
Files = Mapping[Place, list[Path]]
Select = Callable[[Sequence[SelectedRow]], Shown]


@dataclass(frozen=True)
class FigureEntry:
    """A figure that records give."""

    shown: Select
    """What of a group's rows is in it."""
    module: str
    """Of this package, with `draw`; imported where a figure is drawn, for it imports matplotlib."""
    experiment: str
    """The experiment (conf/experiment) that makes its records."""
    mini: str
    """The experiment that does so on the embedded backbone."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `draw`."""

    def draw(self, shown: Shown) -> list["Picture"]:
        """The pictures of what is shown."""
        module = import_module(f"{__package__}.{self.module}")
        pictures: list[Picture] = module.draw(shown, **self.arguments)
        return pictures


def _convergence(select: Select, name: str, experiment: str, mini: str) -> FigureEntry:
    return FigureEntry(select, "convergence", experiment, mini, {"name": name})


def _sweep(sweep: lines.Sweep) -> FigureEntry:
    select = partial(lines.swept, sweep=sweep)
    return FigureEntry(select, "sweep", f"figure_{sweep.field}", f"mini_{sweep.field}", {"sweep": sweep})


CATALOGUE = {
    "convergence": _convergence(lines.with_curves, "convergence", "table2_main", "mini"),
    "loss_curves": _convergence(lines.with_seeds, "loss_curves", "figure_loss_curves", "mini_loss_curves"),
    "num_specialized": _sweep(lines.NUM_SPECIALIZED),
    "tau": _sweep(lines.TAU),
    "pareto": FigureEntry(lines.scored, "pareto", "table2_main", "mini"),
    "tasks": FigureEntry(lines.scored, "tasks", "table5_tasks", "mini"),
    "retention": FigureEntry(lines.with_both, "retention", "table2_main", "mini"),
    "routing": FigureEntry(lines.routed, "routing", "table2_main", "mini"),
}


class Drawing:
    """The figures of a selection's groups, drawn by other processes while this one goes on.

    They go in a folder for each backbone and data mix. What the cache knows to be there already, of the same records,
    is not drawn again. A few are drawn by this process when they are asked for. There are as many processes as
    processors if it is not said how many: the files are the same. Leaving the context gives up what is not drawn yet.

    with Drawing(selection, folder, cache) as drawing:
        ...  # something else
        files = drawing.files()
    """

    def __init__(self, selection: Selection, folder: Path, cache: Cache, processes: int | None = None) -> None:
        self.folder, self.cache, self._source = folder, cache, selection.frame.source
        groups = selection.main.items()
        self._shown = {(mix, name): e.shown(group.rows) for mix, group in groups for name, e in CATALOGUE.items()}
        self._known = {place: self._there(place) if shown else [] for place, shown in self._shown.items()}
        self._new = [place for place, files in self._known.items() if files is None]
        number = min(processes or usable_cores(), -(-len(self._new) // _FEW))
        # Spawned: a fork would copy the locks of threads that it does not copy. Ctrl-C, which all of a terminal's
        # processes get, ends this process alone, and with it the others.
        context, ignored = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
        self._pool = ProcessPoolExecutor(number, context, signal.signal, ignored) if number > 1 else None

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
            contents = [(path.name, digest(path)) for path in paths]  # in the order of the page
            self.cache.put("figures", self._key(place), contents)
        return {place: paths or [] for place, paths in self._known.items()}

    def _key(self, place: Place) -> str:
        """Of where a figure lies, what is shown in it, and its records' files."""
        found = all_lines(self._shown[place])
        parts = [str(self.folder.resolve()), *place, repr([(*line.key, line.label, line.look) for line in found])]
        parts += [digest(self._source.record(run.id)) or run.id for line in found for run in line.runs]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _there(self, place: Place) -> list[Path] | None:
        """The files of a figure if they are there as they would be drawn; None if it must be drawn."""
        held = self.cache.held("figures", self._key(place))
        if held is None or any(digest(self.folder / place[0] / name) != content for name, content in held):
            return None
        return [self.folder / place[0] / name for name, _ in held]


def write_all(selection: Selection, folder: Path, processes: int | None = None) -> Files:
    """Draw what the records allow, and wait for it; the files' paths by mix and figure."""
    with Drawing(selection, folder, Cache(None), processes=processes) as drawing:
        return drawing.files()


def _write(task: tuple[str, Shown, Path]) -> list[Path]:
    from hycam_exp.report.figures import style

    figure, shown, folder = task
    with style.applied():
        return [path for picture in CATALOGUE[figure].draw(shown) for path in picture.write(folder)]


def missing(selection: Selection, files: Files) -> list[tuple[str, str]]:
    """The figures that no backbone and data mix has records for, each with the command that makes them.

    `files` is what drawing this selection gave. No experiment is of a backbone of the user's own.
    """
    models = {group.model for group in selection.groups}
    embedded = "tiny_llama" in models
    if models and not embedded and not models & set(titles.MODELS):
        return []
    there = {figure for (_, figure), paths in files.items() if paths}
    return [
        (figure, command(entry.mini if embedded else entry.experiment))
        for figure, entry in CATALOGUE.items()
        if figure not in there
    ]
