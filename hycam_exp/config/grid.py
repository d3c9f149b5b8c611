"""Grids: the cells that a command line and an experiment's sweep describe, and their runs, composed fast.

expand(["experiment=mini", "method=lora"])  # [["method=lora", "fold=0", "experiment=mini"], ...]
"""

import copy
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hycam_exp.config.compose import config_dir, hydra_running, read
from hycam_exp.config.errors import explain
from hycam_exp.config.identity import REPEATED
from hycam_exp.config.settings import ModelSettings, Run, crossed_seed
from hycam_exp.runtime.command_line import noting

_REFERS = re.compile(r"\$\{[^}]*\b(fold|repetition|seed)\b")
_REFERS_TO_MODEL = re.compile(r"\$\{[^}]*\bmodel\b")


def expand(overrides: Sequence[str], multirun: bool = False) -> list[list[str]]:
    """Every cell's overrides, each cell once, in the order of Hydra's own sweep.

    An experiment's sweep counts where it asks for a multirun, or `multirun` does; a key on the command line replaces
    that key of the experiment's.

    Raises:
        ValueError: an override cannot be parsed, or there is no such group or option.
    """
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            given = parser.parse_overrides(list(overrides))
            fixed = [_line(o) for o in given if not o.is_sweep_override()]
            settings = hydra_compose("config", fixed, return_hydra_config=True).hydra
            swept = multirun or settings.mode is RunMode.MULTIRUN
            params = dict(settings.sweeper.params or {}) if swept else {}
            own = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
            choices = _choices([*own, *given])
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error)) from error
    return [list(cell) for cell in dict.fromkeys(itertools.product(*choices))]


def sweep(experiment: str) -> list[list[str]]:
    """The cells of an experiment of conf/, as `expand` gives them, but for the experiment itself; nothing is composed.

    Its sweep is what its file and the experiments that it builds on hold.
    """
    parser = OverridesParser.create()
    try:
        choices = _choices(parser.parse_overrides([f"{key}={value}" for key, value in _swept(experiment).items()]))
    except HydraException as error:
        raise ValueError(f"experiment={experiment}: {explain(error)}") from error
    return [list(cell) for cell in dict.fromkeys(itertools.product(*choices))]


def _swept(experiment: str) -> dict[str, Any]:
    own = experiment_file(experiment)
    bases = [base for base in own.get("defaults", []) if isinstance(base, str) and base != "_self_"]
    inherited = {key: value for base in bases for key, value in _swept(base).items()}
    return inherited | own.get("hydra", {}).get("sweeper", {}).get("params", {})


def experiment_file(experiment: str) -> dict[str, Any]:
    """What an experiment's own file holds."""
    text = (config_dir() / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    held: dict[str, Any] = yaml.safe_load(text)
    return held


def _choices(overrides: Sequence[Override]) -> list[list[str]]:
    """For every key, the overrides that a cell has one of; the last word on a key counts. Hydra's own are no cell's."""
    found: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not key.lstrip("+~").startswith(("hydra.", "hydra/")):
            swept = override.is_sweep_override()
            found[key] = [f"{key}={v}" for v in override.sweep_string_iterator()] if swept else [_line(override)]
    return list(found.values())


def _line(override: Override) -> str:
    assert override.input_line is not None, "it was parsed from a line"
    return override.input_line


class Composer:
    """Runs of cells: composed once for every choice of groups, read once for all folds and seeds.

    A method's file fills the node `method` and nothing else, so that methods and the rest are composed apart.
    """

    def __init__(self) -> None:
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.runs: dict[tuple[str, ...], Run] = {}
        self.crossed: set[tuple[str, ...]] = set()
        """Of `runs`, whose seed follows from fold and repetition."""
        self.models: dict[str, ModelSettings] = {}
        self.others: dict[str, Run] = {}
        """Runs by all that their configs hold but for the model."""
        self.varying: set[tuple[str, ...]] = set()
        """Of `composed`, where some value refers to the fold or the seed."""

    def __call__(self, cells: Sequence[Sequence[str]]) -> Iterator[Run]:
        """Every cell's run, the same as `config.compose` gives.

        Raises:
            ValueError: as `config.compose`.
        """
        try:
            with hydra_running():
                loader = GlobalHydra.instance().config_loader()
                parser = OverridesParser.create(loader)
                lines = list(dict.fromkeys(itertools.chain.from_iterable(cells)))
                parsed = dict(zip(lines, parser.parse_overrides(lines), strict=True))
                structural = {line for line, override in parsed.items() if _is_structural(override, loader)}
                for cell in cells:
                    groups = [line for line in cell if line in structural]
                    yield self._run([parsed[line] for line in cell if line not in structural], groups)
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(explain(error)) from error

    def _run(self, scalars: Sequence[Override], groups: list[str]) -> Run:
        late = [o for o in scalars if o.key_or_group in REPEATED and type(o.value()) is int]
        early = [o for o in scalars if o not in late]
        key = (*sorted(groups), "", *map(_line, early))
        if key not in self.runs:
            cfg = self._config(groups)
            if self.varying or any(_REFERS.search(_line(o)) for o in scalars):
                return read(_overridden(cfg, scalars))
            cfg = _overridden(cfg, early)
            self.runs[key] = self._read(cfg)
            if cfg.seed is None:
                self.crossed.add(key)
        run = self.runs[key]
        changed: dict[str, Any] = {o.key_or_group: o.value() for o in late}
        if key in self.crossed and "seed" not in changed:
            changed["seed"] = crossed_seed(changed.get("repetition", run.repetition), changed.get("fold", run.fold))
        return replace(run, **changed)

    def _read(self, cfg: DictConfig) -> Run:
        """As `read`; where the model's values and all other values were read before, from these."""
        held = OmegaConf.to_container(cfg)
        assert isinstance(held, dict), "a config has names"
        del held["model"]
        rest = json.dumps(held)
        if _REFERS_TO_MODEL.search(rest):
            return read(cfg)
        model = json.dumps(OmegaConf.to_container(cfg.model, resolve=True))
        if model not in self.models or rest not in self.others:
            run = read(cfg)
            self.models[model], self.others[rest] = run.model, run
        return replace(self.others[rest], model=self.models[model])

    def _config(self, groups: list[str]) -> DictConfig:
        """The composed config; a method chosen beside other groups is composed by itself and put in."""
        methods = [line for line in groups if line.startswith("method=")]
        rest = [line for line in groups if line not in methods]
        if len(methods) != 1 or not rest or not self._leaves_method(rest):
            return self._compose(groups)
        cfg = copy.deepcopy(self._compose(rest))
        with open_dict(cfg):
            cfg.method = copy.deepcopy(self._compose(methods).method)
        return cfg

    def _leaves_method(self, rest: list[str]) -> bool:
        """These choices do not reach into the node `method`; an experiment may."""
        if any(re.match(r"[+~]*(method|released)\b", line) for line in rest):
            return False
        if not any("experiment=" in line for line in rest):
            return True
        return bool(self._compose(rest).method == self._compose([]).method)

    def _compose(self, groups: list[str]) -> DictConfig:
        key = tuple(sorted(groups))
        if key not in self.composed:
            self.composed[key] = hydra_compose("config", groups)
            if _REFERS.search(OmegaConf.to_yaml(self.composed[key])):
                self.varying.add(key)
        return self.composed[key]


def _is_structural(override: Override, loader: object) -> bool:
    """It chooses a group, adds or deletes: what only Hydra's own composition does."""
    plain = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
    return not plain or bool(loader.get_group_options(override.key_or_group))  # type: ignore[attr-defined]


def _overridden(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    """The config with values set as Hydra sets them."""
    changed = copy.deepcopy(cfg)
    for override in overrides:
        try:
            OmegaConf.update(changed, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException as error:
            raise ValueError(explain(error)) from error
    return changed


def runs(cells: Sequence[Sequence[str]]) -> list[Run]:
    """Every cell's run; see `Composer`.

    Raises:
        ValueError: settings of some cells are wrong; names them all.
    """
    composer, wrong = Composer(), list[str]()
    try:
        return list(composer(cells))
    except ValueError as error:
        for cell in cells:
            with noting(wrong):
                list(composer([cell]))
        raise ValueError("\n".join(dict.fromkeys(wrong or [str(error)]))) from error
