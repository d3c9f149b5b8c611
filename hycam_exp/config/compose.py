"""A run from YAML: Hydra composes it, `read` checks it once and returns plain dataclasses.

Imports no torch, so that help and a config error answer at once. Beyond `read` nothing knows OmegaConf.
"""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hycam_exp.config.errors import explain, guess
from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import Run, crossed_seed
from hycam_exp.runtime.require import require


def config_dir() -> Path:
    """The folder of YAML files: inside the package in an installed wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def read(cfg: DictConfig) -> Run:
    """The run that a composed config describes.

    Raises:
        ValueError: a key is unknown or missing, a value has the wrong type or breaks a law; names key and value.
    """
    schema = OmegaConf.structured(Run)
    try:
        plain = OmegaConf.to_container(_with_matched_method(cfg), resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict), "a config has names"
        schema.method = _method_schema(plain.get("method") or {}, "method")
        if plain.get("seed") is None and {type(plain.get(key)) for key in ("repetition", "fold")} == {int}:
            plain["seed"] = crossed_seed(plain["repetition"], plain["fold"])
        run = OmegaConf.to_object(OmegaConf.merge(schema, plain))
    except OmegaConfBaseException as error:
        raise ValueError(explain(error)) from error
    assert isinstance(run, Run)
    match = run.method.match
    if type(match) is type(run.method) and match.match is None and match == replace(run.method, match=None):
        run.method.match = None  # a method matched to itself is itself
    return run


def _method_schema(method: Mapping[str, Any], key: str) -> DictConfig:
    """The type that a method section is checked against, and that of the method which it is matched to."""
    name = method.get("name")
    if name not in METHODS and "type" not in method:
        ways = "or a name of your own beside the method.type of a method of PEFT's"
        raise ValueError(f"{key}.name={name}: must be one of {', '.join(METHODS)}, {ways}")
    schema: DictConfig = OmegaConf.structured(METHODS[name if name in METHODS else "peft"].settings)
    match = method.get("match")
    if isinstance(match, Mapping):
        schema.match = _method_schema(match, f"{key}.match")
    elif match is not None:
        law = "must be a number of parameters, at least 1, or a method"
        require(type(match) is int and match >= 1, f"{key}.match", match, law)
    return schema


def _with_matched_method(cfg: DictConfig) -> DictConfig:
    """The config with the settings of the method that `method.match` names, from its file; they follow the recipe."""
    name = OmegaConf.select(cfg, "method.match")
    if not isinstance(name, str):
        return cfg
    methods = sorted(path.stem for path in (config_dir() / "method").glob("*.yaml"))
    near = guess(get_close_matches(name, methods), methods)
    require(name in methods, "method.match", name, f"must be a number of parameters, or a method; {near}")
    changed = copy.deepcopy(cfg)
    with open_dict(changed):
        changed.method.match = copy.deepcopy(_method_file(name))
    return changed


@cache
def _method_file(name: str) -> DictConfig:
    """A method's file with those that it builds on, its references unresolved."""
    with hydra_running():
        composed: DictConfig = hydra_compose(f"method/{name}").method
    return composed


def hydra_running() -> AbstractContextManager[None]:
    """Hydra as it runs, with the config folders of the command line; outside of a command, one on the package's."""
    running = GlobalHydra.instance().is_initialized()
    return nullcontext() if running else initialize_config_dir(str(config_dir()), version_base="1.3")


def compose(*overrides: str) -> Run:
    """The run that a command line's overrides describe, for use from Python.

    Raises:
        ValueError: as `read`, and where Hydra finds no such group, option or key.
    """
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra_compose("config", list(overrides))
    except HydraException as error:
        raise ValueError(explain(error)) from error
    return read(cfg)
