"""Where a cell stands: its id, and whether it is done, failed or missing. Loads no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hycam_exp import backbones
from hycam_exp.config import Run, run_id
from hycam_exp.data import sources
from hycam_exp.data.records import Record, content_hash
from hycam_exp.runs import MAX_FAILURES, Store

DONE, FAILED, MISSING = "done", "failed", "missing"


def identifier(run: Run, records: Sequence[Record]) -> str:
    """The run's id, from its settings and the hashes of what it reads: data, backbone on disk, retention text."""
    return _identifier(run, content_hash(records))


def _identifier(run: Run, data_hash: str) -> str:
    return run_id(run, backbones.contents(run.model, data_hash))


def store_of(run: Run) -> Store:
    """The store that a run's record goes to."""
    return Store(Path(run.paths.results), Path(run.paths.outputs))


@dataclass(frozen=True)
class Standing:
    """A cell's state, and for a failed one its last reason."""

    run_id: str
    state: str
    reason: str | None = None


def standing(run_id: str, store: Store) -> Standing:
    """Done if there is a record, failed if it has failed as often as a cell may, else missing.

    Raises:
        ValueError: the record is not whole, or of a newer schema.
    """
    if store.read(run_id) is not None:
        return Standing(run_id, DONE)
    failures = store.failures(run_id)
    if len(failures) >= MAX_FAILURES:
        return Standing(run_id, FAILED, failures[-1]["message"])
    return Standing(run_id, MISSING)


@dataclass
class Identifiers:
    """Ids of many runs; each data mix is read once."""

    data_hashes: dict[str, str] = field(default_factory=dict)

    def of(self, run: Run) -> str:
        """A run's id.

        Raises:
            ValueError: its data or backbone cannot be read.
        """
        mix = json.dumps([run.data.tasks, run.data.root, run.data.fields])
        if mix not in self.data_hashes:
            self.data_hashes[mix] = content_hash(sources.read(run.data.tasks, run.data.root, run.data.fields).records)
        return _identifier(run, self.data_hashes[mix])
