"""How far each grid of conf/experiment is: its cells with a record, of those that it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from hycam_exp.config import config_dir
from hycam_exp.report.experiments import Experiments, command
from hycam_exp.report.match import folds_run
from hycam_exp.report.select import Summary


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A grid with its numbers of cells."""

    experiment: str
    about: str
    done: int
    total: int

    @property
    def command(self) -> str:
        """What runs the cells that are missing, and skips the others."""
        return command(self.experiment)


def progress(experiments: Experiments, summaries: Sequence[Summary]) -> list[Progress]:
    """Every grid, by name."""
    names = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
    experiments.prepare(names, {(s.model, s.method, s.data) for s in summaries})
    return [_of(name, experiments, summaries) for name in names]


def _of(name: str, experiments: Experiments, summaries: Sequence[Summary]) -> Progress:
    folds = experiments.memo.get(f"folds of {name}", lambda: _folds(name))
    rows = experiments.rows(name)
    done = sum(len(folds_run(expected, summaries) & set(folds)) for expected in rows)
    return Progress(experiment=name, about=_about(name), done=done, total=len(rows) * len(folds))


def _folds(name: str) -> list[int]:
    """The folds that a grid sweeps over; the default one where it sweeps over none."""
    from hycam_exp import grid

    lines = {line for cell in grid.sweep(name) for line in cell}
    return sorted(int(line.removeprefix("fold=")) for line in lines if line.startswith("fold=")) or [0]


def _about(name: str) -> str:
    """What the experiment's file says of itself: the comment at its top."""
    about = []
    for line in (config_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            about.append(line.removeprefix("#").strip())
    return " ".join(about)
