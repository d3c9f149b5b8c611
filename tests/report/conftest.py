"""What the report's tests share: experiment files composed once, since composing is slow."""

from pathlib import Path

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.report.expected import Experiments, Memo
from hycam_exp.report.figures.line import standard
from hycam_exp.report.records import read
from hycam_exp.report.summary import summarise
from hycam_exp.report.tables import build
from tests.report.page_reader import address, browser, reader  # noqa: F401 - fixtures

RESULTS = Path(__file__).parents[2] / "results" / "studies" / "mini"


def mini_records() -> list[RunRecord]:
    """The committed records of the methods and ablations on the mini set, without other seeds, sweeps and switches."""
    found = standard(summarise(read(RESULTS).records))
    return [record for summary in found for record in summary.records if record.config["seed"] == 0]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs that holds the settings that the committed records need."""
    outputs = tmp_path_factory.mktemp("outputs")
    memo = Memo(outputs / "report")
    build(summarise(read(RESULTS).records), Experiments(memo))
    memo.save()
    return outputs


@pytest.fixture(scope="session")
def experiments(kept: Path) -> Experiments:
    """Experiment files, mostly composed already."""
    return Experiments(Memo(kept / "report"))
