"""Summaries, of records that are made up."""

import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.report.records import read
from hycam_exp.report.summary import Summary, summarise
from hycam_exp.runs import SCHEMA_VERSION, RunRecord, Score, Store


def record(fold: int, ppl: float | None, method: str = "lora", clip: float | None = 1.0, **places: object) -> RunRecord:
    config = {
        "model": {"name": "m", "path": "x"}, "method": {"name": method, "routing": {"hard": False}},
        "data": {"name": "mini", "root": None}, "recipe": {"clip": clip, "learning_rates": {"lora": 1.0}},
        "trainer": {"name": "cpu"}, "fold": fold, "seed": 0, **places,
    }  # fmt: skip
    return RunRecord(
        schema_version=SCHEMA_VERSION, run_id=f"m-{method}-f{fold}-{clip}", config=config,
        scores=[Score(task="mean", metric="ppl", value=ppl, n=2)], metrics={}, curves={}, fit={}, routing=[],
        counts={"parameters_trainable": 7, "records": {}}, cost={"seconds": {}}, code={"digest": "d"}, versions={},
        data={"content": "c", "split": f"s{fold}"}, notes=[],
    )  # fmt: skip


def test_cells_that_differ_in_their_fold_alone_are_one_setting() -> None:
    """Folds come in order whatever the records' order; places and unused learning rates set nothing apart."""
    other = record(2, 4.0, trainer={"name": "gpu"}, paths={"results": "y"})
    (summary,) = summarise([record(1, 3.0), record(0, 2.0), other])
    assert (summary.model, summary.data, summary.method, summary.variant) == ("m", "mini", "lora", "")
    assert summary.folds == (0, 1, 2)
    assert summary.values("ppl") == [2.0, 3.0, 4.0]
    assert (summary.mean("ppl"), summary.spread("ppl")) == (3.0, 1.0)
    assert not summary.is_complete
    assert summarise([record(fold, 1.0) for fold in range(5)])[0].is_complete


def test_settings_of_one_name_are_told_apart_by_what_differs() -> None:
    """The variant names the fields, and only those, in which the settings differ."""
    found = summarise([record(0, 2.0), record(0, 3.0, clip=None), record(0, 4.0, method="hycam")])
    assert [(s.method, s.variant) for s in found] == [
        ("hycam", ""), ("lora", "recipe.clip=1.0"), ("lora", "recipe.clip=null"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "mean", "spread"), [([2.0], 2.0, None), ([2.0, None], None, None), ([], None, None)]
)
def test_what_is_absent_is_none(values: list[float | None], mean: float | None, spread: float | None) -> None:
    """One fold has no spread, and a fold without a score leaves no mean: never averaged over silently."""
    records = tuple(record(fold, value) for fold, value in enumerate(values))
    summary = Summary(model="m", method="lora", data="mini", variant="", records=records)
    assert (summary.mean("ppl"), summary.spread("ppl")) == (mean, spread)


def command(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hycam_exp.report", "--results", str(folder)], capture_output=True, text=True,
        env={"COLUMNS": "160", "PATH": "/usr/bin:/bin"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_command_prints_a_row_for_each_setting(tmp_path: Path) -> None:
    """Mean, spread and the number of folds; without records, or with a broken one, a line that says so."""
    empty = command(tmp_path)
    assert (empty.returncode, empty.stderr.startswith("error: ")) == (1, True)
    store = Store(tmp_path, tmp_path)
    for fold, ppl in enumerate((1.0, 3.0)):
        store.write(record(fold, ppl))
    assert read(tmp_path).records == [record(0, 1.0), record(1, 3.0)]
    found = command(tmp_path)
    assert found.returncode == 0
    assert "2.000 +- 1.414" in found.stdout
    assert "2/5" in found.stdout
    (tmp_path / "runs" / "broken.json").write_text("{")
    broken = command(tmp_path)
    assert broken.returncode == 1
    assert broken.stderr.startswith(f"error: {tmp_path}/runs/broken.json: not a whole run record")
