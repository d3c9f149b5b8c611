"""Where a cell stands: what it reads, its id, and whether it is done, failed or missing. Loads no torch."""

import json
from dataclasses import dataclass, field

from hycam_exp.config.identity import run_id
from hycam_exp.config.settings import DataSettings, ModelSettings, Run
from hycam_exp.data import sources
from hycam_exp.data.records import Record, content_hash
from hycam_exp.models import files
from hycam_exp.records.store import MAX_FAILURES, Store

DONE, FAILED, MISSING = "done", "failed", "missing"


@dataclass(frozen=True)
class Standing:
    """A cell's state, how often it has failed, and the last reason."""

    run_id: str
    state: str
    failures: int = 0
    reason: str | None = None

    @property
    def retried(self) -> bool:
        """It has failed, and the next grid tries it again."""
        return self.state == MISSING and self.failures > 0


def standing(run_id: str, store: Store) -> Standing:
    """Done if there is a record, failed if it has failed as often as a cell may, else missing: a grid runs it.

    Raises:
        ValueError: the record is not whole, or of a newer schema.
    """
    done, failures = store.read(run_id) is not None, store.failures(run_id)
    reason = failures[-1]["message"] if failures else None
    state = DONE if done else FAILED if len(failures) >= MAX_FAILURES else MISSING
    return Standing(run_id, state, len(failures), reason)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What there is of a data mix on this machine."""

    records: list[Record]
    hash: str | None
    """Of the records' content; None where they cannot be read."""
    problem: str | None
    """Why they cannot be read."""


def read_mix(mix: DataSettings) -> Data:
    """The mix's records, or why there are none."""
    try:
        records = sources.read(mix.tasks, mix.root, mix.fields).records
    except ValueError as error:
        return Data(records=[], hash=None, problem=str(error))
    return Data(records=records, hash=content_hash(records), problem=None)


@dataclass
class Inputs:
    """Data mixes and hashes of backbones that were read, for the ids of many runs."""

    _data: dict[str, Data] = field(default_factory=dict)
    _contents: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def data(self, mix: DataSettings) -> Data:
        """A mix, whatever its lengths, folds and weights."""
        key = json.dumps([mix.tasks, mix.root, mix.fields], sort_keys=True)
        if key not in self._data:
            self._data[key] = read_mix(mix)
        return self._data[key]

    def contents(self, model: ModelSettings) -> dict[str, str | None]:
        """The hashes of a backbone and its general text.

        Raises:
            ValueError: one of them is missing.
        """
        key = json.dumps([model.source, model.path, model.hub_id, model.retention_text])
        if key not in self._contents:
            self._contents[key] = files.contents(model)
        return self._contents[key]

    def run_id(self, run: Run) -> str:
        """A run's id.

        Raises:
            ValueError: its data or backbone cannot be read.
        """
        data = self.data(run.data)
        if data.hash is None:
            raise ValueError(data.problem)
        return run_id(run, {"data": data.hash, **self.contents(run.model)})
