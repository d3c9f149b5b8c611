"""What is wrong with a config in one line, with the key or choice that comes nearest to what was written."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Container, DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

NEAR = 0.75  # of difflib's ratio, below which a key of another section is no guess

SWEPT = "Ambiguous value for argument"  # what Hydra says where commas stand without -m
NO_LIST = "is not a ListConfig"


def explain(error: HydraException | OmegaConfBaseException) -> str:
    """One line for a person: the key, choice or override, what is wrong with it, and what was meant."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
        return _unknown_key(cause)
    if isinstance(error, MissingConfigException) and "/" in str(error.missing_cfg_file):
        return _unknown_choice(str(error.missing_cfg_file), error.options)
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, OverrideParseException):
        return _unparsed(error.override, first)
    key = getattr(error, "full_key", None)
    if str(error).strip().startswith(SWEPT):
        return f"{first}: several values are a grid, with -m; one list is in brackets, [1,2]"
    if NO_LIST in first:
        return f"{key}: must be a list, in brackets: {key}=[...]"
    return f"{key}: {first}" if key else first


def _unparsed(override: str, reason: str) -> str:
    """Why Hydra cannot read an override, and where quotes help, what to type: a text that holds ~ = ( # or Chinese."""
    key, is_pair, value = override.partition("=")
    if not is_pair:
        return f"{override}: must be key=value"
    if value.startswith(("[", "{")):
        return f"{override}: {reason}"
    texts = [os.path.expanduser(text.strip("'\"")) for text in value.split(",")]
    quoted = f"{key}={','.join(map(_quoted, texts))}"
    try:
        OverridesParser.create().parse_override(quoted)
    except HydraException:
        return f"{override}: {reason}"
    return f"{override}: Hydra reads such characters in quotes only, and the shell needs its own: {shlex.quote(quoted)}"


def _quoted(text: str) -> str:
    """As Hydra's command line reads a text, which takes backslashes as such but for those before a quote."""
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text) + '"'


def _unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    """The section it would lie in has no such key: the nearest there, else anywhere, else all of the section."""
    path, section = str(error.full_key), error.parent_node
    parent, _, key = path.rpartition(".")
    if parent == "data.fields":
        return f"{path}: no such task in data.fields; a plus adds it: +{path}.instruction=FIELD +{path}.output=FIELD"
    if parent == "method.config":
        return f"{path}: not in the method's file; a plus adds a field of PEFT's config: +{path}=VALUE"
    siblings = _keys(section)
    wrong = f"{path}: {parent or 'the config'} has no key {key}"
    near = [f"{parent}.{k}".lstrip(".") for k in get_close_matches(key, siblings, n=1)]
    if not near and section is not None:
        paths = list(_paths(section._get_root()))
        names = get_close_matches(key, {p.rpartition(".")[2] for p in paths}, n=1, cutoff=NEAR)
        near = [p for p in paths if p.rpartition(".")[2] in names]
    return f"{wrong}; {guess(near, siblings)}"


def _unknown_choice(file: str, options: Sequence[str] | None) -> str:
    """A group has no such file: the nearest choices, else all."""
    group, _, name = file.rpartition("/")
    if file.startswith("model//"):
        return (
            f"model={file.removeprefix('model/')}: no such choice; a folder is given by model=local model.path=FOLDER"
        )
    if options is None:  # Hydra keeps them to itself for one of a list
        from hycam_exp.config.compose import config_dir

        options = sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
    near = get_close_matches(name, options) or [choice for choice in options if choice.startswith(name)]
    return f"{group}={name}: no such choice; {guess([f'{group}={choice}' for choice in near], options)}"


def guess(near: Sequence[str], existing: Sequence[str]) -> str:
    """The nearest of what there is, or where none is near, all."""
    return f"nearest: {', '.join(near)}" if near else f"there is {', '.join(existing) or 'none'}"


def _keys(section: object) -> list[str]:
    keys = section if isinstance(section, DictConfig) and not section._is_none() else ()
    return [str(key) for key in keys if key != "hydra"]


def _paths(section: Container, parent: str = "") -> Iterator[str]:
    """Every key of a section and of those in it, with dots; Hydra's own left out."""
    for key in _keys(section):
        yield f"{parent}{key}"
        node = section._get_node(key)
        if isinstance(node, DictConfig):
            yield from _paths(node, f"{parent}{key}.")
