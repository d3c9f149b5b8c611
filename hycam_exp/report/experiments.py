"""What experiment files ask for: the settings of a table's rows, the command of what is missing, how far a grid is.

Experiments(Cache(None)).rows("table2_main")[0].names  # ("llama2_7b", "full_ft", "paper_mix")
"""

import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hycam_exp.config.compose import config_dir
from hycam_exp.config.identity import REPEATED
from hycam_exp.config.settings import Run
from hycam_exp.report import settings
from hycam_exp.report.cache import Cache
from hycam_exp.report.settings import Values

if TYPE_CHECKING:
    from hycam_exp.config.grid import Composer

_SECTION = "settings"  # of the cache


def command(experiment: str, *overrides: str) -> str:
    """The command that runs the cells of an experiment that have no record."""
    return shlex.join(["python", "-m", "hycam_exp", "-m", f"experiment={experiment}", *overrides])


@dataclass(frozen=True)
class Expected:
    """The cells of an experiment that stand in one row: they differ in fold and seed alone."""

    experiment: str
    overrides: tuple[str, ...]
    """The cell's overrides, without experiment, fold and seed."""
    names: tuple[str, str, str]
    """Model, method and data."""
    cells: tuple[tuple[int, int], ...]
    """Fold and seed of each."""
    compose: Callable[["Expected"], Values]

    @property
    def key(self) -> str:
        """The row by name."""
        return " ".join((self.experiment, *self.overrides))

    @cached_property
    def values(self) -> Values:
        """The values that decide its scores; the data's content is not known before they are read."""
        return self.compose(self)

    @cached_property
    def fixed(self) -> str:
        """What it shares with the other rows of its table."""
        return settings.fixed(self.values)

    def command(self, folds: Sequence[int]) -> str:
        """The command that runs these folds."""
        return command(self.experiment, *self.overrides, f"fold={','.join(map(str, folds))}")

    def missing(self, done: Container[tuple[int, int]]) -> str | None:
        """The command that runs the cells, by fold and seed, that are not among these; None where all are."""
        lacking = sorted({fold for fold, seed in self.cells if (fold, seed) not in done})
        return self.command(lacking) if lacking else None


@dataclass
class Experiments:
    """The rows of experiment files; what they share is composed once, and a setting only where it is asked for."""

    cache: Cache
    _composer: "Composer | None" = field(default=None, init=False)
    _known: dict[str, list[Expected]] = field(default_factory=dict, init=False)

    def rows(self, experiment: str) -> list[Expected]:
        """The experiment's rows in the order of its grid, model before method."""
        if experiment not in self._known:
            held = self.cache.get(_SECTION, experiment, lambda: self._rows(experiment))
            self._known[experiment] = [
                Expected(experiment, tuple(cell), tuple(names), tuple(map(tuple, cells)), self._values)
                for cell, names, cells in held
            ]
        return self._known[experiment]

    def _rows(self, experiment: str) -> list[tuple[tuple[str, ...], tuple[str, str, str], list[tuple[int, int]]]]:
        from hycam_exp.config import grid

        swept: dict[tuple[str, ...], list[list[str]]] = {}
        for cell in grid.sweep(experiment):
            swept.setdefault(_unrepeated(cell), []).append(cell)
        first = next(iter(swept.values()))
        runs = self._runs([(experiment, cell) for cell in first])  # a grid is a product: all rows have these
        cells = sorted({(run.fold, run.seed) for run in runs})
        return [(cell, _names(cell, runs[0]), cells) for cell in swept]

    def prepare(self, experiments: Iterable[str], present: Container[tuple[str, str, str]]) -> None:
        """Compose at once what will be asked for: the settings of rows that there are records of by name."""
        rows = [e for name in dict.fromkeys(experiments) for e in self.rows(name)]
        wanted = [e for e in rows if e.names in present and self.cache.held(_SECTION, e.key) is None]
        runs = self._runs([(e.experiment, e.overrides) for e in wanted])
        for e, run in zip(wanted, runs, strict=True):
            self.cache.put(_SECTION, e.key, settings.values(asdict(run)))

    def asked(self, names: tuple[str, str], fixed: str) -> frozenset[tuple[int, int]]:
        """The cells, by fold and seed, that a table's experiment asks for in every row on a model and data, if the runs
        share all of `fixed`; none where no experiment asks for such runs."""
        row = self._table_row(names, fixed)
        return frozenset(row.cells if row else ())

    def usual(self, own: Values, rates: Mapping[str, float]) -> Values:
        """The usual values of method and recipe for a run with these values: those that a table's experiment asks for,
        or those of the YAML files where none asks for such runs; nothing for a method or a recipe without a file of
        its own. `rates` are the learning rates of its recipe by method.
        """
        method, recipe = own["method.name"], own.get("recipe.name")
        if not all(_has_file(group, name) for group, name in (("method", method), ("recipe", recipe))):
            return {}
        composed = self._composed(f"method={method}", f"recipe={recipe}")
        rank = own.get("recipe.rank")
        if type(rank) is int and 0 < rank != composed["recipe.rank"]:  # the method's rank follows the recipe's
            follows = self._composed(f"method={method}", f"recipe={recipe}", f"recipe.rank={rank}")
            composed = {**composed, **{key: v for key, v in follows.items() if key.startswith("method.")}}
        matched = own.get("method.match")
        if matched != method and _has_file("method", matched):  # what it is matched to, as that method's file has it
            theirs = self.usual({**own, "method.name": matched, "method.match": None}, {})
            composed = {
                **composed,
                **{f"method.match.{key.removeprefix('method.')}": v for key, v in settings.of_method(theirs).items()},
            }
        row = self._table_row((own["model.name"], own["data.name"]), settings.fixed(own))
        asked = {key: value for key, value in (row.values if row else {}).items() if key.startswith("recipe.")}
        return {**composed, **asked, "recipe.learning_rate": rates.get(method, composed["recipe.learning_rate"])}

    def variant(self, expected: Expected) -> dict[str, Any]:
        """What an experiment sets otherwise for a row than the YAML files do, as a run's variant says it."""
        return settings.variant(expected.values, self.usual(expected.values, {}))

    def _composed(self, *overrides: str) -> Values:
        """The values of a cell of these overrides alone."""
        found: Values = self.cache.get(
            _SECTION, " ".join(overrides), lambda: settings.values(asdict(self._compose([overrides])[0]))
        )
        return found

    def _table_row(self, names: tuple[str, str], fixed: str) -> Expected | None:
        """The first row of the first table whose experiment asks for such runs."""
        from hycam_exp.report.tables.designs import DESIGNS

        for experiment in dict.fromkeys(design.experiment for design in DESIGNS):
            row = next((e for e in self.rows(experiment) if (e.names[0], e.names[2]) == names), None)
            if row is not None and row.fixed == fixed:
                return row
        return None

    def _values(self, expected: Expected) -> Values:
        found: Values = self.cache.get(
            _SECTION,
            expected.key,
            lambda: settings.values(asdict(self._runs([(expected.experiment, expected.overrides)])[0])),
        )
        return found

    def _runs(self, cells: Sequence[tuple[str, Sequence[str]]]) -> list[Run]:
        """The runs of cells; an experiment that only sweeps is left out, so that experiments share what is composed."""
        return self._compose([[*overrides, *_beside(experiment)] for experiment, overrides in cells])

    def _compose(self, cells: Sequence[Sequence[str]]) -> list[Run]:
        from hycam_exp.config.grid import Composer

        self._composer = self._composer or Composer()
        return list(self._composer(cells)) if cells else []


def _has_file(group: str, name: object) -> bool:
    return isinstance(name, str) and (config_dir() / group / f"{name}.yaml").is_file()


def _beside(experiment: str) -> list[str]:
    """What is composed besides a cell's own: the experiment; where its file adds a sweep alone, what it builds on."""
    from hycam_exp.config import grid

    own = grid.experiment_file(experiment)
    match own.pop("defaults", []):
        case [] if set(own) == {"hydra"}:
            return []
        case [str(base), "_self_"] if set(own) == {"hydra"}:
            return _beside(base)
    return [f"experiment={experiment}"]


def _unrepeated(cell: Sequence[str]) -> tuple[str, ...]:
    return tuple(line for line in cell if line.split("=", 1)[0] not in REPEATED)


def _names(cell: Sequence[str], default: Run) -> tuple[str, str, str]:
    chosen = dict(line.split("=", 1) for line in cell)
    return (
        chosen.get("model", default.model.name),
        chosen.get("method", default.method.name),
        chosen.get("data", default.data.name),
    )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A grid of conf/experiment with its numbers of cells."""

    experiment: str
    about: str
    done: int
    total: int

    @property
    def command(self) -> str:
        """What runs the cells that are missing, and skips the others."""
        return command(self.experiment)


def progress(experiments: Experiments, done: Callable[[Expected], Container[tuple[int, int]]]) -> list[Progress]:
    """Every grid, by name; `done` gives the cells of a row, by fold and seed, that have a record."""
    found = []
    for name in sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml")):
        cells = [(e, cell) for e in experiments.rows(name) for cell in e.cells]
        finished = {e.key: done(e) for e, _ in cells}
        number = sum(cell in finished[e.key] for e, cell in cells)
        found.append(Progress(experiment=name, about=_about(name), done=number, total=len(cells)))
    return found


def _about(name: str) -> str:
    """What the experiment's file says of itself: the comment at its top."""
    about = []
    for line in (config_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            about.append(line.removeprefix("#").strip())
    return " ".join(about)
