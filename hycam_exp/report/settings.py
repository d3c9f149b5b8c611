"""What decides a record's scores, as dotted names and values, and how settings are told apart.

values({"model": {"name": "m"}, "recipe": {"clip": None}, "fold": 0})  # {"model.name": "m", "recipe.clip": None}
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hycam_exp.config.identity import REPEATED, identity

Values = Mapping[str, Any]

ASIDE = ("recipe.generate_before", "recipe.compare_single", "evaluation.generate_before", "evaluation.compare_single")
"""Settings that the scores after adaptation do not depend on."""

VARIED = ("method.", "recipe.")
"""Settings in which the rows of one comparison may differ; all others are the same for them."""


def values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configured values that decide the result, but for what runs of one row differ in."""
    found = flat({key: value for key, value in identity(config).items() if key not in REPEATED})
    model = config["model"]
    if model.get("source") == "folder" and not model.get("hub_id"):  # one's own is known by its path alone
        found["model.path"] = model.get("path")
    match = config.get("method", {}).get("match")
    found["method.match"] = match.get("name") if isinstance(match, Mapping) else match
    return found


def known(of: Values) -> dict[str, Any]:
    """The values that are not null: null is also a field that did not exist when a record was written."""
    return {key: value for key, value in of.items() if value is not None}


def fixed(of: Values) -> str:
    """What all rows of one comparison share, as JSON: the backbone, the data mix, the evaluation.

    Where a backbone of the hub was read from is left out, for an experiment file leaves it open.
    """
    left_out = (*ASIDE, *(("model.source",) if of.get("model.hub_id") else ()))
    kept = {key: value for key, value in known(of).items() if key not in left_out and not key.startswith(VARIED)}
    return json.dumps(kept, sort_keys=True)


def variant(of: Values, usual: Values) -> dict[str, Any]:
    """The values of method and recipe that are not the usual ones; a field that `usual` has not is left out."""
    names = sorted(key for key in of if key.startswith(VARIED) and key not in (*ASIDE, "method.name"))
    return {key: of[key] for key in names if key in usual and not same(of[key], usual[key])}


def of_method(of: Values) -> dict[str, Any]:
    """The values that are the method's own."""
    return {key: value for key, value in of.items() if key.startswith("method.")}


def commonest(settings: Sequence[Values]) -> dict[str, Any]:
    """For every name the value that at least half of the settings have, if no other has as many."""
    found: dict[str, Any] = {}
    for key in sorted(set().union(*settings)):
        counts = Counter(json.dumps(of.get(key)) for of in settings)
        (value, count), *others = counts.most_common(2)
        usual = 2 * count >= counts.total() and all(other < count for _, other in others)
        found[key] = json.loads(value) if usual else ...
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    return bool(one == other) if one is None or isinstance(one, str | int) else json.dumps(one) == json.dumps(other)


def differing(one: Values, other: Values) -> list[str]:
    """The names whose values are not the same in both; null is as absent."""
    return [key for key in sorted({*one, *other}) if not same(one.get(key), other.get(key))]


def apart(one: Values, other: Values) -> list[str]:
    """The names whose values are not the same in two variants, where null is a value like others."""
    return [k for k in sorted({*one, *other}) if (k in one) != (k in other) or not same(one.get(k), other.get(k))]


def shown(of: Values) -> str:
    """Values as a command line would set them: recipe.clip=null, seed=1."""
    return ", ".join(f"{key}={'null' if value is None else value}" for key, value in of.items())


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
