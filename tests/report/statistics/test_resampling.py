"""The bootstrap between two settings, and what is remembered of it."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hycam_exp.report.select import Summary, summarise
from hycam_exp.report.statistics import resampling
from hycam_exp.report.statistics.bootstrap import resample_settings
from hycam_exp.report.statistics.resampling import Resampling
from hycam_exp.runs import Store
from tests.report.conftest import RESULTS, mini_records

FOUND = {s.method: s for s in summarise(mini_records()) if s.method in ("hycam", "lora")}
HYCAM, LORA = FOUND["hycam"], FOUND["lora"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The samples of two settings."""
    for path in (Store(RESULTS, RESULTS).samples_path(r.run_id) for s in (HYCAM, LORA) for r in s.records):
        (tmp_path / "runs").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "runs")
    return tmp_path


def sampled(results: Path, summary: Summary) -> Path:
    return Store(results, results).samples_path(summary.records[0].run_id)


def made(results: Path) -> Resampling:
    return Resampling(results, results / "bootstrap.json", resamples=50)


def test_it_is_the_bootstrap_of_the_two_settings(results: Path) -> None:
    """By score and task; of what is not defined there is none."""
    drawn = resample_settings([HYCAM, LORA], RESULTS, 50)
    found = made(results)
    for metric, task in (("ppl", "mean"), ("bleu4", "dolly"), ("rouge_l", "pooled")):
        assert found.compare(HYCAM, LORA, metric, task) == drawn.compare(0, 1, metric, task)
    assert found.compare(HYCAM, LORA, "ppl", "absent") is None


def test_it_is_remembered_until_a_samples_file_changes(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of what is kept that was cut off, or that another number of resamples gave, counts for nothing."""
    first = made(results)
    expected = first.compare(HYCAM, LORA, "ppl", "mean")
    first.save()
    calls: list[object] = []
    whole = resampling.resample_settings
    monkeypatch.setattr(resampling, "resample_settings", lambda *how: calls.append(how) or whole(*how))
    again = made(results)
    assert again.compare(HYCAM, LORA, "ppl", "mean") == expected
    before = again.path and again.path.stat().st_mtime_ns
    again.save()
    assert (calls, again.path and again.path.stat().st_mtime_ns) == ([], before)
    table = pq.read_table(sampled(results, LORA))
    pq.write_table(table, sampled(results, LORA), compression="none")
    assert made(results).compare(HYCAM, LORA, "ppl", "mean") == expected
    assert len(calls) == 1
    (results / "bootstrap.json").write_text("{")
    made(results).compare(HYCAM, LORA, "ppl", "mean")
    first.save()
    Resampling(results, results / "bootstrap.json", resamples=60).compare(HYCAM, LORA, "ppl", "mean")
    assert len(calls) == 3


def test_a_fault_is_told_in_every_report(results: Path) -> None:
    """It is not remembered as a comparison without scores."""
    table = pq.read_table(sampled(results, LORA))
    pq.write_table(table.slice(1), sampled(results, LORA))
    for _ in range(2):
        found = made(results)
        assert found.compare(HYCAM, LORA, "ppl", "mean") is None
        assert len(found.problems) == 1
        found.save()


def test_samples_that_cannot_be_compared_are_named(results: Path) -> None:
    """Other test records are a problem, once; no samples file is none, and there is no bootstrap."""
    table = pq.read_table(sampled(results, LORA))
    pq.write_table(table.slice(1), sampled(results, LORA))
    found = made(results)
    assert found.compare(HYCAM, LORA, "ppl", "mean") is found.compare(HYCAM, LORA, "bleu4", "mean") is None
    (problem,) = found.problems
    assert problem.place == f"tiny_llama x {HYCAM.label} against {LORA.label}"
    assert "a paired bootstrap needs the same test records" in problem.reason
    sampled(results, LORA).unlink()
    absent = made(results)
    assert (absent.compare(HYCAM, LORA, "ppl", "mean"), absent.problems) == (None, [])
