"""What the report's tests share: the study of the mini grids, and experiment files composed once."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.report.cache import kept_in
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.frame import Frame, read
from hycam_exp.report.select import SelectedRow, select
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.tables.build import build
from tests.report.page.page_reader import address, browser, reader  # noqa: F401 - fixtures
from tests.report.toy import frame_of, known_experiments

RESULTS = Path(__file__).parents[2] / "results"
MINI = RecordSource.study(RESULTS, "mini")
"""The committed study."""
WORDS = ["study=mini"]
"""What a command is given to read it alone."""


@cache
def mini_frame() -> Frame:
    """The committed records, read once."""
    found = read(MINI, known_experiments())
    assert not found.problems
    return found


@cache
def mini_rows() -> tuple[SelectedRow, ...]:
    """The rows of the methods and ablations on the mini set, of the first training of each fold, without sweeps and
    switches."""
    first = [run.record for run in mini_frame().runs if run.seed == run.fold]
    (group,) = select(frame_of(first, MINI), known_experiments()).groups
    return tuple(row for row in group.rows if not any(key.startswith("method.") for key in row.variant))


def mini_records() -> list[RunRecord]:
    """Their records."""
    return [run.record for row in mini_rows() for run in row.runs]


def unclipped(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Records as if they had been made without clipping, as a variant of their method."""
    return [
        replace(r, run_id=f"{r.run_id}-u", config={**r.config, "recipe": {**r.config["recipe"], "clip": None}})
        for r in records
    ]


def mini_row(method: str) -> SelectedRow:
    """The row of a method as its YAML sets it."""
    return next(row for row in mini_rows() if row.method == method and not row.variant)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs that holds what a report of the committed records keeps."""
    outputs = tmp_path_factory.mktemp("outputs")
    cache = kept_in(outputs)
    experiments = Experiments(cache)
    build(select(frame_of(mini_records()), experiments), experiments)
    read(MINI, experiments)
    cache.save()
    return outputs


@pytest.fixture(scope="session")
def experiments() -> Experiments:
    """Experiment files."""
    return known_experiments()
