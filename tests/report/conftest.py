"""What the report's tests share: experiment files composed once, since composing is slow."""

from pathlib import Path

import pytest

from hycam_exp.report.experiments import Experiments, Memo
from hycam_exp.report.figures.lines import standard
from hycam_exp.report.frame import read
from hycam_exp.report.select import summarise
from hycam_exp.report.tables.build import build
from hycam_exp.runs import RunRecord
from tests.report.page.page_reader import address, browser, reader  # noqa: F401 - fixtures

RESULTS = Path(__file__).parents[2] / "results"


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
