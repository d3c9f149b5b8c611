"""What an experiment file asks for: a row's setting, its names, and the command that runs what is missing of it.

Experiments(Memo(None)).rows("table2_main")[0].names  # ("llama2_7b", "full_ft", "paper_mix")
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hycam_exp.config import NUM_FOLDS, Run, config_dir
from hycam_exp.report import setting
from hycam_exp.runs import PACKAGE, write_atomically

if TYPE_CHECKING:
    from hycam_exp.grid import Composer


def command(experiment: str, *overrides: str) -> str:
    """What runs the cells of an experiment that have no record."""
    return shlex.join(["python", "-m", "hycam_exp", "-m", f"experiment={experiment}", *overrides])


@dataclass(frozen=True)
class Expected:
    """The cells of an experiment that differ in their fold alone."""

    experiment: str
    overrides: tuple[str, ...]
    """Of the cell, without fold and experiment."""
    names: tuple[str, str, str]
    """Model, method and data."""
    compose: Callable[["Expected"], setting.Setting]

    @property
    def key(self) -> str:
        """Its cell by name."""
        return " ".join((self.experiment, *self.overrides))

    @cached_property
    def setting(self) -> setting.Setting:
        """The values that decide its scores; the data's content is not known before they are read."""
        return self.compose(self)

    def command(self, folds: Sequence[int]) -> str:
        """What runs these folds."""
        return command(self.experiment, *self.overrides, f"fold={','.join(map(str, folds))}")

    def missing(self, folds: Sequence[int]) -> str | None:
        """What runs the folds that are not among these; None where all are."""
        lacking = [fold for fold in range(NUM_FOLDS) if fold not in folds]
        return self.command(lacking) if lacking else None


class Memo:
    """Values that follow from conf/ alone, kept in a file until conf/ or the code changes: composing is slow."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / f"settings-{_digest(config_dir(), PACKAGE)}.json" if folder else None
        self.values: dict[str, Any] = _held(self.path) if self.path else {}
        self.is_changed = False

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of a key, made where it is not known yet."""
        if key not in self.values:
            self.values[key] = json.loads(json.dumps(make()))
            self.is_changed = True
        return self.values[key]

    def save(self) -> None:
        """Keep what was made, in the place of what other files gave."""
        if self.path and self.is_changed:
            for old in self.path.parent.glob("settings-*.json"):
                old.unlink(missing_ok=True)
            write_atomically(self.path, json.dumps(self.values, sort_keys=True).encode())


def _held(path: Path) -> dict[str, Any]:
    """What a file holds; nothing where it is not there or not whole, so that it is made again."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _digest(conf: Path, package: Path) -> str:
    """A hash of conf/ and of all sources that may decide what follows from it: those of a run and of the report."""
    sha = hashlib.sha256()
    for path in sorted([*conf.rglob("*.yaml"), *package.glob("*.py"), *package.glob("report/**/*.py")]):
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()[:16]


@dataclass
class Experiments:
    """The rows of experiment files; what they share is composed once, and a setting only where it is asked for."""

    memo: Memo
    _composer: "Composer | None" = field(default=None, init=False)

    def rows(self, experiment: str) -> list[Expected]:
        """The experiment's settings in the order of its grid, model before method."""
        held = self.memo.get(experiment, lambda: self._rows(experiment))
        return [Expected(experiment, tuple(cell), tuple(names), self._setting) for cell, names in held]

    def _rows(self, experiment: str) -> list[tuple[tuple[str, ...], tuple[str, str, str]]]:
        from hycam_exp import grid

        cells = list(dict.fromkeys(_without_fold(cell) for cell in grid.sweep(experiment)))
        default = self._run(experiment, cells[0])
        return [(cell, _names(cell, default)) for cell in cells]

    def prepare(self, experiments: Iterable[str], present: Container[tuple[str, str, str]]) -> None:
        """Compose at once what will be asked for: the settings of rows that there are records of by name."""
        rows = [e for name in dict.fromkeys(experiments) for e in self.rows(name)]
        wanted = {e.key: e for e in rows if e.names in present and e.key not in self.memo.values}
        runs = self._runs([(e.experiment, e.overrides) for e in wanted.values()])
        for key, run in zip(wanted, runs, strict=True):
            self.memo.get(key, lambda run=run: setting.decisive(asdict(run), None))  # type: ignore[misc]

    def _setting(self, expected: Expected) -> setting.Setting:
        found: dict[str, Any] = self.memo.get(expected.key, lambda: self._composed(expected))
        return found

    def _composed(self, expected: Expected) -> setting.Setting:
        return setting.decisive(asdict(self._run(expected.experiment, expected.overrides)), None)

    def _run(self, experiment: str, overrides: Sequence[str]) -> Run:
        return self._runs([(experiment, overrides)])[0]

    def _runs(self, cells: Sequence[tuple[str, Sequence[str]]]) -> list[Run]:
        """The runs of cells; an experiment that only sweeps is left out, so that experiments share what is composed."""
        from hycam_exp.grid import Composer

        self._composer = self._composer or Composer()
        return list(self._composer([[*overrides, *_beside(experiment)] for experiment, overrides in cells]))


def _beside(experiment: str) -> list[str]:
    """What is composed besides a cell's own: the experiment; where its file adds a sweep alone, what it builds on."""
    from hycam_exp import grid

    own = grid.experiment_file(experiment)
    match own.pop("defaults", []):
        case [] if set(own) == {"hydra"}:
            return []
        case [str(base), "_self_"] if set(own) == {"hydra"}:
            return _beside(base)
    return [f"experiment={experiment}"]


def _without_fold(cell: Sequence[str]) -> tuple[str, ...]:
    return tuple(line for line in cell if not line.startswith("fold="))


def _names(cell: Sequence[str], default: Run) -> tuple[str, str, str]:
    chosen = dict(line.split("=", 1) for line in cell)
    return (
        chosen.get("model", default.model.name),
        chosen.get("method", default.method.name),
        chosen.get("data", default.data.name),
    )
