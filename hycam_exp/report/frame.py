"""The one frame of a report: every usable run and, tidily, every score; what is wrong with the others is named.

A folder of records is read and checked once, here; tables, statistics, claims, figures and the page select from it by
`select.py`. E.g. `read(Source.of_study(Path("results"), "mini"), Experiments(cache)).scores.query("metric == 'ppl'")`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hycam_exp.evaluation.metrics import AGGREGATES, Score
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.records.record import RoutingRow, RunRecord, decode
from hycam_exp.report import checks, settings
from hycam_exp.report.cache import digest
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.samples import Samples
from hycam_exp.report.sources import RecordSource

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "model", "method", "data", "fold", "seed", "variant", "task", "metric", "value", "n", "version", "split",
    "content", "parameters", "seconds", "train_seconds", "memory", "memory_kind", "device",
)  # fmt: skip
"""Of the frame: a line for each score, with what its run is and cost. What is absent is null."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that keeps a record or a row out of the report."""

    place: str
    """The file or the row."""
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run as the report knows it: what its record says, by name. Nothing else looks into a record."""

    record: RunRecord
    variant: Mapping[str, Any]
    """The values of method and recipe that are not the usual ones, by their dotted names."""
    fixed: str
    """What it shares with all runs that it may be compared with, as JSON."""

    @cached_property
    def _scores(self) -> dict[tuple[str, str], Score]:
        return {(score.task, score.metric): score for score in self.record.scores}

    @property
    def id(self) -> str:
        return self.record.run_id

    @property
    def names(self) -> tuple[str, str, str]:
        """Model, method and data."""
        model, method, data = (self.record.config[group]["name"] for group in ("model", "method", "data"))
        return model, method, data

    @property
    def fold(self) -> int:
        return int(self.record.config["fold"])

    @property
    def seed(self) -> int:
        return int(self.record.config["seed"])

    @property
    def version(self) -> int:
        """What its numbers mean."""
        return self.record.results_version

    @property
    def content(self) -> str:
        """The hash of the data that it read."""
        return str(self.record.data.content)

    @property
    def split(self) -> str:
        """The hash of its fold's parts."""
        return str(self.record.data.split)

    @property
    def weights(self) -> str:
        """Where the backbone's weights came from, or where nothing more is known, its source."""
        return self.record.weights or str(self.record.config["model"].get("source"))

    @cached_property
    def aside(self) -> str:
        """What was set of what decides no score after adaptation."""
        values = settings.values(self.record.config)
        return settings.shown({key: values[key] for key in settings.ASIDE if values.get(key) is not None})

    def score(self, metric: str, task: str = "mean") -> float | None:
        """The value of one score; None where the run has none."""
        found = self._scores.get((task, metric))
        return None if found is None else found.value

    def number(self, metric: str, task: str) -> int | None:
        """How many samples a score rests on; None where the run has none."""
        found = self._scores.get((task, metric))
        return None if found is None else found.n

    @property
    def named_tasks(self) -> list[str]:
        """The tasks that its config names."""
        return self.record.config["data"].get("tasks") or []

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks that it was scored on, in its config's order where that names them."""
        scored = {task for task, metric in self._scores if metric == "ppl"} - {*AGGREGATES, RETENTION}
        order = self.named_tasks
        return [task for task in order if task in scored] + sorted(scored - set(order))

    @property
    def is_generated(self) -> bool:
        """Its tasks are the generated ones, which lie nowhere."""
        return self.record.config["data"].get("root") is None

    @property
    def parameters(self) -> int:
        """Trained parameters."""
        return self.record.counts.parameters_trainable

    @property
    def seconds(self) -> float:
        """Of all phases."""
        return float(sum(self.record.cost.seconds.values()))

    @property
    def train_seconds(self) -> float | None:
        """Of training alone."""
        return self.record.cost.seconds.get("train")

    @property
    def memory(self) -> int:
        """Peak memory of the whole run in bytes: the device's, or on CPU the process's."""
        return self.record.cost.peak_memory.bytes

    @property
    def memory_kind(self) -> str:
        return self.record.cost.peak_memory.kind

    @property
    def device(self) -> str:
        return self.record.cost.hardware.device

    @property
    def routing(self) -> list[RoutingRow]:
        """What its router did, by layer and task."""
        return self.record.routing

    @property
    def usable(self) -> dict[str, int]:
        """Records of every task that were read and not rejected."""
        return {task: of.rows - of.rejected for task, of in self.record.counts.records.items()}

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Records of every task that it trained, validated and tested on."""
        names = ("train", "validation", "test")
        return {task: {name: getattr(of, name) for name in names} for task, of in self.record.counts.records.items()}

    @property
    def learning_rate(self) -> float:
        return float(self.record.config["recipe"]["learning_rate"])

    @property
    def is_tuned(self) -> bool:
        """Its recipe has a learning rate for its method: one that a search on fold 0's validation part chose."""
        return self.names[1] in (self.record.config["recipe"].get("learning_rates") or {})

    def curve(self, name: str) -> list[dict[str, float]]:
        """The rows of a curve, `train` or `validation`."""
        rows: list[dict[str, float]] = getattr(self.record.curves, name)
        return rows

    def method_field(self, name: str) -> Any:
        """The value of a method's field; None where the method has none."""
        return self.record.config["method"].get(name)

    def trainer_field(self, name: str) -> Any:
        """The value of a trainer's field; the default where a record was written before there was the field."""
        from hycam_exp.config.settings import TrainerSettings

        return self.record.config["trainer"].get(name, getattr(TrainerSettings, name, None))

    def line(self) -> dict[str, Any]:
        """What every score of it has in the frame."""
        model, method, data = self.names
        return {
            "run": self.id, "model": model, "method": method, "data": data, "fold": self.fold, "seed": self.seed,
            "variant": settings.shown(self.variant), "version": self.version, "split": self.split,
            "content": self.content, "parameters": self.parameters, "seconds": self.seconds,
            "train_seconds": self.train_seconds, "memory": self.memory, "memory_kind": self.memory_kind,
            "device": self.device,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Frame:
    """The usable runs of a source in order of id, and what is wrong with the others."""

    runs: tuple[FinishedRun, ...]
    problems: tuple[Problem, ...] = ()
    source: RecordSource = field(default=RecordSource(Path("results/runs"), Path("results/report")))

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """A line for each score; see `COLUMNS`."""
        import pandas as pd

        lines = [
            {**of_run, "task": score.task, "metric": score.metric, "value": score.value, "n": score.n}
            for run in self.runs
            for of_run in [run.line()]
            for score in run.record.scores
        ]
        found = pd.DataFrame(lines, columns=list(COLUMNS))
        return found.astype({"value": float})

    @cached_property
    def by_run(self) -> "pd.DataFrame":
        """The scores with a line for each run and a column for each metric and task; NaN where a run has none."""
        found = self.scores.pivot(index="run", columns=["metric", "task"], values="value")
        return found.reindex([run.id for run in self.runs])


def read(source: RecordSource, experiments: Experiments) -> Frame:
    """Every record of a source, checked. One that is not whole or of a newer schema, whose scores cannot be or are not
    what its samples say, or that is of the same cell as another is left out, and named; of several versions of the
    results the newest alone is in the frame.
    """
    found: list[RunRecord] = []
    problems: list[Problem] = []
    for path in sorted(source.records.glob("*.json")):
        record, fault = _read(path)
        if record is not None:
            fault = _samples_fault(record, source, experiments) or ""
        if record is None or fault:
            problems.append(Problem(str(path), fault))
        else:
            found.append(record)
    newest = max((record.results_version for record in found), default=0)
    older = [record for record in found if record.results_version < newest]
    problems += _older(older, newest, source)
    records = [record for record in found if record.results_version == newest]
    wrong = checks.other_declarations(records) | _doubled(records)
    problems += [Problem(str(source.record(run_id)), reason) for run_id, reason in wrong.items()]
    runs = runs_of((record for record in records if record.run_id not in wrong), experiments)
    return Frame(tuple(runs), tuple(sorted(problems)), source)


def runs_of(records: Iterable[RunRecord], experiments: Experiments) -> list[FinishedRun]:
    """The runs of usable records, each with what sets it apart: from the YAML files, and in a field that these have not
    from most runs of its method."""
    of_method: dict[tuple[str, str], list[tuple[RunRecord, settings.Values]]] = {}
    for record in records:
        values: settings.Values = settings.values(record.config)
        of_method.setdefault((settings.fixed(values), values["method.name"]), []).append((record, values))
    runs = []
    for (fixed, _), members in of_method.items():
        commonest: settings.Values = settings.commonest([values for _, values in members])
        for record, values in members:
            rates = record.config["recipe"].get("learning_rates") or {}
            usual = {**commonest, **experiments.usual(values, rates)}
            runs.append(FinishedRun(record, settings.variant(values, usual), fixed))
    return sorted(runs, key=lambda run: run.id)


def parsed(path: Path) -> RunRecord:
    """A record's file as it is, unchecked.

    Raises:
        ValueError: it is not a whole record, or of a newer schema; says so without the file's name.
    """
    try:
        return decode(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a whole run record ({error}); move it away to run the cell again") from error


def _read(path: Path) -> tuple[RunRecord | None, str]:
    """A record, or what is wrong with it."""
    if not path.is_file():
        return None, "is no file, or a link to none"
    try:
        record = parsed(path)
    except ValueError as error:
        return None, str(error)
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    fault = checks.fault(record)
    if fault is None and record.run_id != path.stem:
        fault = f"holds the record of {record.run_id}"
    return (record, "") if fault is None else (None, fault)


def _samples_fault(record: RunRecord, source: RecordSource, experiments: Experiments) -> str | None:
    """How a record and its samples file contradict each other; looked at once for the same two files."""
    path = source.samples(record.run_id)
    if not path.is_file():
        return None
    key = f"{digest(source.record(record.run_id))} {digest(path)}"

    def check() -> str | None:
        try:
            return checks.against_samples(record, Samples.read(path, record.run_id))
        except ValueError as error:
            return str(error).removeprefix(f"{path}: ")

    fault = experiments.cache.get("samples", hashlib.sha256(key.encode()).hexdigest(), check)
    return f"{path.name}: {fault}" if fault else None


def _older(records: Sequence[RunRecord], newest: int, source: RecordSource) -> Iterator[Problem]:
    for version in sorted({record.results_version for record in records}):
        of_version = [record.run_id for record in records if record.results_version == version]
        named = ", ".join(of_version[:3]) + (", ..." if len(of_version) > 3 else "")
        yield Problem(
            str(source.records),
            f"left out: {len(of_version)} of results version {version} ({named}), which never stand beside those of"
            f" version {newest}; move them to a folder of their own",
        )


def _doubled(records: Sequence[RunRecord]) -> dict[str, str]:
    """For each record whose cell another has too, what is wrong."""
    cells: dict[str, list[str]] = {}
    for record in records:
        decisive = settings.known(settings.values(record.config))
        cell = (record.config["fold"], record.config["seed"], record.data.content, sorted(decisive.items()))
        cells.setdefault(json.dumps(cell), []).append(record.run_id)
    return {
        run_id: f"the same cell as {', '.join(o for o in alike if o != run_id)}; move all but one away"
        for alike in cells.values()
        if len(alike) > 1
        for run_id in alike
    }
