"""What decides a record's scores, as dotted names and values: two records of one setting differ in their fold alone.

decisive({"model": {"name": "m"}, "fold": 0, "seed": 0}, None)  # {"model.name": "m", "seed": 0}
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hycam_exp.config.identity import identity

Setting = Mapping[str, Any]

ASIDE = ("recipe.generate_before", "recipe.compare_single", "evaluation.generate_before", "evaluation.compare_single")
"""What the scores after adaptation do not depend on."""


def decisive(config: Mapping[str, Any], content: str | None) -> dict[str, Any]:
    """The configured values that decide the result, but for the fold, and the hash of the data's content.

    A field that is null is left out, as are fields that there were not yet when a record was written.
    """
    values = flat({key: value for key, value in identity(config).items() if key != "fold"}) | {"data.content": content}
    model = config["model"]
    if model.get("source") == "folder" and not model.get("hub_id"):  # one's own is known by its path alone
        values["model.path"] = model.get("path")
    return {key: value for key, value in values.items() if value is not None}


def comparable(setting: Setting) -> dict[str, Any]:
    """Without what an experiment file leaves open: the data's content, and from where a backbone of the hub is read;
    and without what the scores after adaptation do not depend on.
    """
    left_out = (*ASIDE, "data.content", *(("model.source",) if "model.hub_id" in setting else ()))
    return {key: value for key, value in setting.items() if key not in left_out}


def differing(settings: Sequence[Setting]) -> list[str]:
    """The names whose values are not the same in all settings."""
    keys = sorted(set().union(*settings)) if settings else []
    first, *others = settings or [{}]
    return [key for key in keys if not all(_same(first.get(key), other.get(key)) for other in others)]


def _same(one: Any, other: Any) -> bool:
    """Written as the same JSON: 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    return bool(one == other) if one is None or isinstance(one, str | int) else json.dumps(one) == json.dumps(other)


def only(setting: Setting, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some names; None for what a setting lacks."""
    return {key: setting.get(key) for key in keys}


def shown(setting: Setting) -> str:
    """Values as a command line would set them: recipe.clip=null, seed=1."""
    return ", ".join(f"{key}={'null' if value is None else value}" for key, value in setting.items())


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
