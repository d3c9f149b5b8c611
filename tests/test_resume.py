"""A cell that is killed, started again by the same command, ends as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

QUICK = (
    "model=tiny_qwen2", "data.max_per_task=40", "data.tasks=[auto_cot,dolly]", "recipe.epochs=2",
    "recipe.global_batch_size=8", "recipe.validations_per_epoch=100", "recipe.max_new_tokens=6", "recipe.patience=100",
    "trainer.checkpoint_every_steps=1", "trainer.micro_batch_size=4", "trainer.evaluation_batch_size=2",
    "recipe.compare_single=0",
)  # fmt: skip


def start(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    paths = (f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}")
    command = [sys.executable, "-m", "hycam_exp", *QUICK, *paths, *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, *overrides: str) -> dict:
    """Run the command to its end, and read its record."""
    process = start(folder, *overrides)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    records = list((folder / "results" / "runs").glob("*.json"))
    assert len(records) == 1
    return json.loads(records[0].read_text())


def kill_at(folder: Path, marker: str) -> None:
    """SIGKILL the command when it prints the marker."""
    process = start(folder)
    assert process.stdout is not None
    for line in process.stdout:
        if marker in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list((folder / "results" / "runs").iterdir()) == []


def comparable(record: dict) -> dict:
    """What must not depend on interruptions."""
    return {key: record[key] for key in ("run_id", "scores", "curves", "fit", "counts", "data")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    return finish(tmp_path_factory.mktemp("undisturbed"))


def test_killed_in_the_second_epoch_it_ends_with_the_same_bits(tmp_path, undisturbed):
    """SIGKILL in the middle of the second epoch, the same command again: same scores, curves and counts."""
    kill_at(tmp_path, "step 10/14")
    resumed = finish(tmp_path)
    assert comparable(resumed) == comparable(undisturbed)


@pytest.mark.slow
def test_killed_again_and_again_at_random_moments_it_ends_with_the_same_bits(tmp_path, undisturbed):
    """Eight kills at random moments of loading, training, evaluating and decoding change nothing."""
    rng = random.Random(0)
    for _ in range(8):
        process = start(tmp_path)
        deadline = time.monotonic() + rng.uniform(2, 22)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if list((tmp_path / "results" / "runs").glob("*.json")):
            break
    assert comparable(finish(tmp_path)) == comparable(undisturbed)


def test_a_second_process_on_the_same_cell_says_so(tmp_path):
    """While one process holds the cell, another is told which process it is, and leaves everything alone."""
    first = start(tmp_path)
    assert first.stdout is not None
    next(line for line in first.stdout if "step 1/14" in line)
    second = start(tmp_path)
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert f"is being run by process {first.pid} on " in errors
