"""Where a cell stands: its id, and whether it is done, failed or missing. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hycam_exp.config.identity import run_id
from hycam_exp.config.settings import Run
from hycam_exp.data.records import Record, content_hash
from hycam_exp.models import files
from hycam_exp.records.store import MAX_FAILURES, Store, records_folder

DONE, FAILED, MISSING = "done", "failed", "missing"


def identifier(run: Run, records: Sequence[Record]) -> str:
    """The run's id, from its settings and the hashes of what it reads: data, backbone on disk, retention text."""
    return run_id(run, {"data": content_hash(records), **files.contents(run.model)})


def store_of(run: Run) -> Store:
    """The store that a run's record goes to, and where a finished one is looked for."""
    return Store(records_folder(Path(run.paths.results), run.study), Path(run.paths.outputs))


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
