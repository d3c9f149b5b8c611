"""Weights & Biases as a mirror of the record."""

import os
import subprocess
import sys

import pytest

from hycam_exp.records.wandb_mirror import publish

KEY = "0123456789abcdef0123456789abcdef01234567"


class Summary(dict):
    """Stands for a W&B run's summary."""


class Table:
    """Stands for a logger that keeps tables."""

    def __init__(self) -> None:
        self.experiment, self.tables = self, {}
        self.summary, self.finished = Summary(), False

    def log_table(self, key, columns, data) -> None:
        self.tables[key] = (columns, data)

    def finish(self) -> None:
        self.finished = True


def test_scores_and_predictions_are_handed_over_and_the_run_is_closed(tmp_path, monkeypatch):
    """Every score that is a number goes to the summary, every test sample's texts to the table."""
    from hycam_exp.cell import run_cell
    from tests.test_cell import quick

    handed = []
    monkeypatch.setattr(
        "hycam_exp.records.wandb_mirror.publish", lambda loggers, record, after: handed.append((record, after))
    )
    run_cell(quick(tmp_path))
    (record, after) = handed[0]
    logger = Table()
    publish([object(), logger], record, after)
    numbers = [s for s in record.scores if s.value is not None]
    assert len(logger.summary) == len(numbers)
    assert logger.summary["ppl/mini_passage"] == record.score("ppl", "mini_passage")
    columns, data = logger.tables["predictions"]
    assert {row[columns.index("prediction")] for row in data} == {p.text for p in after.predictions}
    assert logger.finished


@pytest.mark.slow
def test_offline_the_run_has_the_record_s_id_and_no_key_is_written(tmp_path):
    """logger=wandb works without network under the record's id, and a key in the environment reaches no file."""
    from tests.test_cell import QUICK

    paths = (f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}")
    environment = {**os.environ, "WANDB_API_KEY": KEY}
    command = [sys.executable, "-m", "hycam_exp", *QUICK, *paths, "logger=wandb"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    run_id = next((tmp_path / "results" / "runs").glob("*.json")).stem
    assert list((tmp_path / "outputs" / run_id / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in done.stdout + done.stderr
