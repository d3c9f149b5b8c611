"""A run from YAML: Hydra composes it, `read` checks it once and returns plain dataclasses.

Imports no torch, so that help and a config error answer at once. Beyond `read` nothing knows OmegaConf.
"""

from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hycam_exp.config.errors import explain
from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import Run, crossed_seed


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
    name = OmegaConf.select(cfg, "method.name")
    if name not in METHODS:
        raise ValueError(f"method.name={name}: must be one of {', '.join(METHODS)}")
    schema = OmegaConf.structured(Run)
    schema.method = OmegaConf.structured(METHODS[name].settings)
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict), "a config has names"
        if plain.get("seed") is None and {type(plain.get(key)) for key in ("repetition", "fold")} == {int}:
            plain["seed"] = crossed_seed(plain["repetition"], plain["fold"])
        run = OmegaConf.to_object(OmegaConf.merge(schema, plain))
    except OmegaConfBaseException as error:
        raise ValueError(explain(error)) from error
    assert isinstance(run, Run)
    return run


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
