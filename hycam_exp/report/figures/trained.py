"""A finished HyCAM run, loaded again with its own test records, for the figures that need a model."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hycam_exp import generate
from hycam_exp.config.grid import Composer
from hycam_exp.config.identity import INCIDENTAL
from hycam_exp.config.settings import DataSettings
from hycam_exp.models import files
from hycam_exp.records.record import RunRecord
from hycam_exp.report.frame import parsed
from hycam_exp.report.sources import RecordSource

REMADE = "outputs/remade"  # where the record of a run goes that is made again for its adapter
_GROUPS = ("model", "data", "recipe", "method")
_PLAIN = re.compile(r"[A-Za-z_/.~][\w./~-]*")
_NO_TEXTS = ("null", "true", "false", "nan", "inf")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A HyCAM model with its adapter, ready to be looked into."""

    name: str
    """The run's id, or its folder's name."""
    model: Any
    tokenizer: Any
    layers: dict[int, Any]
    """The HyCAM layers, by block."""
    adapter: str
    rows: list[Any]
    """The run's test split, as `Tokens`."""
    tasks: list[str]
    is_generated: bool = False
    """Whether its tasks are generated ones."""


def load(run: str, outputs: Path, sources: Sequence[RecordSource]) -> Trained:
    """The model of a run, given by its id or folder.

    Raises:
        ValueError: there is no such adapter, it is not HyCAM's, or its data are not what they were; says what to do.
    """
    folder = _adapter(run, outputs, sources)
    settings = json.loads((folder / files.SETTINGS_FILE).read_text(encoding="utf-8"))
    _check_method(run, settings["method"])

    from hycam_exp.methods.hycam_layer import HyCAMLayer
    from hycam_exp.methods.recognition import block_of

    model, backbone = generate.adapted_model(folder, settings)
    model.eval()
    found = {name: module for name, module in model.named_modules() if isinstance(module, HyCAMLayer)}
    layers = {block: module for name, module in found.items() if (block := block_of(name)) is not None}
    data = DataSettings(**settings["data"])
    name = folder.parent.name if folder.name == "adapter" else folder.name
    return Trained(
        name=name,
        model=model,
        tokenizer=backbone.tokenizer,
        layers=layers,
        adapter=model.active_adapter,
        rows=_test_rows(data, settings["fold"], backbone.tokenizer, outputs, _recorded(name, sources)),
        tasks=data.tasks,
        is_generated=data.root is None,
    )


def _recorded(run_id: str, sources: Sequence[RecordSource]) -> RunRecord | None:
    """The record of a run; None where there is none."""
    path = next((path for source in sources if (path := source.record(run_id)).is_file()), None)
    return None if path is None else parsed(path)


def _check_method(run: str, method: Mapping[str, Any]) -> None:
    """Raise a `ValueError` for a method that modulates nothing."""
    if "modulate" not in method:
        raise ValueError(f"run={run}: method {method['name']} has no modulation to show; a HyCAM run is needed")


def _test_rows(data: DataSettings, fold: int, tokenizer: Any, outputs: Path, record: RunRecord | None) -> list[Any]:
    """The test split; where the run's record is there, it must be the same one."""
    from hycam_exp.data import sources
    from hycam_exp.data.folds import fold_of

    records = sources.read(data.tasks, data.root, data.fields).records
    found = fold_of(records, fold, data, tokenizer, outputs / "tokens")
    if record is not None and record.data.split != found.digest:
        raise ValueError(f"{record.run_id}: the data have changed since; data.root={data.root} splits differently now")
    return list(found.test)


def _adapter(run: str, outputs: Path, sources: Sequence[RecordSource]) -> Path:
    try:
        return generate.adapter_folder(run, str(outputs))
    except ValueError as error:
        record = _recorded(run, sources)
        if record is None:
            raise ValueError(f"{error}; a finished HyCAM run is needed: python -m hycam_exp method=hycam") from error
        _check_method(run, record.config["method"])
        raise ValueError(
            f"run={run}: no adapter in {outputs / run} (its record is kept, adapters are not); "
            f"this trains it again: {command(record.config, outputs)}"
        ) from error


def command(config: Mapping[str, Any], outputs: Path = Path("outputs")) -> str:
    """The command that makes a recorded run again, its record put where no finished one stands in the way."""
    names = {group: config[group]["name"] for group in _GROUPS}
    choices = [f"{group}={name}" for group, name in names.items()]
    (plain,) = Composer()([[choice for choice in choices if choice != "model=local"]])
    values = [f"{key}={_value(value)}" for key, value in _differing(config, plain) if not _is_elsewhere(key)]
    outside = [f"paths.outputs={outputs}"] if outputs != Path("outputs") else []
    words = ["python", "-m", "hycam_exp", *choices, *values, f"paths.results={REMADE}", *outside]
    return shlex.join(words)


def _is_elsewhere(key: str) -> bool:
    """Whether a value decides nothing, or is said by the choice of a group."""
    return key.split(".")[0] in INCIDENTAL or key.endswith((".name", "recipe.learning_rates"))


def _differing(recorded: Mapping[str, Any], plain: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Recorded values that are not those of a config, by their dotted names: section by section, and of a mapping
    whose keys are the user's (weights, fields) the whole. A field that a config has no more is left out.
    """
    for field in (field.name for field in fields(plain) if field.name in recorded):
        own, other = recorded[field], getattr(plain, field)
        if is_dataclass(other) and isinstance(own, Mapping):
            yield from _differing(own, other, f"{prefix}{field}.")
        elif own != (asdict(other) if is_dataclass(other) and not isinstance(other, type) else other):
            adds = isinstance(own, Mapping) and isinstance(other, Mapping)  # perhaps keys that the config has not
            yield f"{'++' * adds}{prefix}{field}", own


def _value(value: Any) -> str:
    """As Hydra's command line reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _text(value: str) -> str:
    """A text, in quotes where Hydra would read it as something else."""
    if _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXTS:
        return value
    # Hydra reads backslashes as such but for those before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"
