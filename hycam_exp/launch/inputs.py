"""What the runs of a grid read from disk, each thing once: data mixes, backbones, texts. Loads no torch."""

import json
from dataclasses import dataclass, field

from hycam_exp.config.identity import run_id
from hycam_exp.config.settings import DataSettings, ModelSettings, Run
from hycam_exp.data import sources
from hycam_exp.data.records import Record, content_hash
from hycam_exp.models import files


@dataclass(frozen=True, kw_only=True)
class Data:
    """What there is of a data mix on this machine."""

    records: list[Record]
    hash: str | None
    """Of the records' content; None where they cannot be read."""
    problem: str | None
    """Why they cannot be read."""


def read(mix: DataSettings) -> Data:
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
            self._data[key] = read(mix)
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
