"""Which configured values decide a result, and the id of a run that follows from them.

Takes a configuration as plain nested values: `asdict` of a `Run`, or what a record keeps.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hycam_exp.config.settings import Run

INCIDENTAL = ("trainer", "logger", "paths", "study", "overwrite", "retry", "resume", "repetition")
"""Hardware, places, switches of the command line, and what the seed is made of: they decide nothing."""
REPEATED = ("fold", "repetition", "seed")
"""In what the runs of one row of a table differ."""
_CONTENT = {"data": ("root", "fields"), "model": ("path", "retention_text")}  # what lies there decides, by its hash
_CHECKS = {"recipe": ("learning_rates",), "model": ("tokenizer",)}  # a choice that was taken; a fact that is compared


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every configured value that decides the result: nothing incidental, and no place whose content is hashed."""
    values = {key: value for key, value in config.items() if key not in INCIDENTAL}
    for dropped in (_CONTENT, _CHECKS):
        for section, fields in dropped.items():
            kept = values.get(section, {})
            values[section] = {key: value for key, value in kept.items() if key not in fields}
    model = values["model"]
    if model.get("source") != "random":  # elsewhere revision or content decides, and the architecture is a check
        model["architecture"] = None
    values["method"] = _without_unmatched(values.get("method", {}))
    return values


def _without_unmatched(method: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings, as in runs before there was `match` where it is null; so for the method that it names."""
    match = method.get("match")
    rest = {key: value for key, value in method.items() if key != "match"}
    if match is None:
        return rest
    return {**rest, "match": _without_unmatched(match) if isinstance(match, Mapping) else match}


def run_id(run: Run, content: Mapping[str, str | None]) -> str:
    """model-method-data-f<fold>-s<seed>-<8 hex>: the hash of `identity` and of the content that a run reads.

    `content` maps what lies in files (data, backbone, retention text) to its hash: moving a folder changes nothing.
    """
    decisive = json.dumps({"settings": identity(asdict(run)), "content": dict(content)}, sort_keys=True)
    digest = hashlib.sha256(decisive.encode()).hexdigest()[:8]
    return f"{run.model.name}-{run.method.name}-{run.data.name}-f{run.fold}-s{run.seed}-{digest}"
