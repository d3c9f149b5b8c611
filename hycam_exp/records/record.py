"""The record of a finished cell as nested types: the only thing that training hands over to the report.

decode(b'{"schema_version": 2, "run_id": 7, ...}')  # ValueError: Expected `str`, got `int` - at `$.run_id`
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec

from hycam_exp.data.records import SourceFile
from hycam_exp.evaluation.metrics import Declaration, Score

SCHEMA_VERSION = 2
"""Of the record's fields; what its numbers mean is `version.RESULTS_VERSION`."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Losses over optimiser steps: a mapping of numbers for each step, or for a window of steps; `step` is its last."""

    train: list[dict[str, float]]
    validation: list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class FitFacts:
    """How training went."""

    steps: int
    best_step: int
    best_validation_loss: float
    """Nats a target token."""
    stopped_early: bool
    clipped_share: float | None
    """The share of optimiser steps whose gradient was clipped; None where the recipe clips none."""
    step_task_entropy: float | None
    """The mean entropy of a step's tasks over that of the mix; None for a single task."""
    padding_share: float | None
    """Of the tokens of all training batches; None in records from before it was counted."""


@dataclass(frozen=True, kw_only=True)
class RoutingRow:
    """What the router of one layer did on one task in the best validation."""

    layer: str
    task: str
    tokens: float
    weights: list[float]
    """The mean weight of each module."""
    entropy: float
    """The mean entropy of a token's weights, in nats."""


@dataclass(frozen=True, kw_only=True)
class TaskCounts:
    """The records of one task: how many rows were read, and what became of them."""

    rows: int
    rejected: int
    left_out: int
    """Left out by the limit on records of a task, or by a weight below one."""
    too_long: int
    """Records whose prompt leaves no token for a response."""
    train: int
    validation: int
    test: int
    train_truncated: int
    validation_truncated: int
    test_truncated: int
    drawn_per_epoch: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of parameters, tokens and records."""

    parameters_trainable: int
    parameters_total: int
    tokens_trained: int
    records: dict[str, TaskCounts]
    """By task."""
    rejected: dict[str, int]
    """By task and reason."""
    too_long_ids: list[str]
    chosen: dict[str, int]
    """What the method chose for this backbone: the rank of a matched budget, and the number that it matches."""


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """The largest memory of the process."""

    kind: str
    """cuda_allocated, or rss: resident memory."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The device that computed, and the host around it."""

    device: str
    cpus: int | None
    threads: int
    system: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the cell took."""

    seconds: dict[str, float]
    """By phase."""
    train_tokens_per_second: float
    peak_memory: PeakMemory
    hardware: Hardware


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What the cell was trained and tested on."""

    files: list[SourceFile]
    content: str
    """A hash of the records, in whatever file they lay."""
    split: str
    """A hash of which record is in which part of the fold."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The state of the code: provenance, which decides nothing."""

    commit: str | None
    dirty: bool | None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that a report needs of a finished cell. Absent is None."""

    schema_version: int
    results_version: int
    """`version.RESULTS_VERSION` of the code that made it."""
    run_id: str
    config: dict[str, Any]
    """The run's settings, whole (`asdict` of a `config.settings.Run`): what is asked of them is in `RunNames`."""
    scores: list[Score]
    metrics: dict[str, Declaration]
    """The declaration of every metric in `scores`."""
    curves: Curves
    fit: FitFacts
    routing: list[RoutingRow]
    """Empty for a method without a router."""
    counts: Counts
    cost: Cost
    data: DataFacts
    code: Code
    versions: dict[str, str]
    """Of Python and of the packages that decide results."""
    notes: list[str]
    weights: str | None
    """Where the backbone's weights come from: `hub_id@revision`, or the GGUF file's type; None where only their content
    is known."""

    def score(self, metric: str, task: str) -> float | None:
        """The value of one score; None where the run has none."""
        return next((s.value for s in self.scores if s.metric == metric and s.task == task), None)


@dataclass(frozen=True)
class Named:
    """A part of the settings by its name."""

    name: str


@dataclass(frozen=True)
class NamedData:
    """The data mix by its name and tasks."""

    name: str
    tasks: list[str]


@dataclass(frozen=True)
class RunNames:
    """What every record's settings must have for a report to place it."""

    model: Named
    method: Named
    data: NamedData
    recipe: Named
    trainer: Named
    fold: int
    seed: int


def encode(record: RunRecord) -> bytes:
    """The record as JSON.

    Raises:
        ValueError: a number in it is not finite.
    """
    return (json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode(content: bytes) -> RunRecord:
    """The record that a JSON text holds.

    Raises:
        ValueError: it is no JSON, of another schema, or a field is missing or of a wrong type; names it by its path.
    """
    version = msgspec.json.decode(content, type=_Versioned).schema_version
    if version != SCHEMA_VERSION:
        raise ValueError(_of_other_schema(version))
    msgspec.json.decode(content, type=_Placed)
    unknown = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys() - {f.name for f in fields(RunRecord)}
    if unknown:
        raise ValueError(f"has fields that no record has: {', '.join(sorted(unknown))}")
    return msgspec.json.decode(content, type=RunRecord)


@dataclass(frozen=True)
class _Versioned:
    schema_version: int


@dataclass(frozen=True)
class _Placed:
    config: RunNames


def _of_other_schema(version: int) -> str:
    if version > SCHEMA_VERSION:
        return f"schema version {version} is newer than this software's {SCHEMA_VERSION}: update hycam_exp to read it"
    return (
        f"schema version {version} is older than this software's {SCHEMA_VERSION}: its results cannot be compared with "
        "today's"
    )
