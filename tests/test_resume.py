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
    "model=tiny_qwen2", "data.max_per_task=40", "data.tasks=[mini_reasoning,mini_passage]", "recipe.epochs=2",
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


def kill_after(folder: Path, steps: int, delay: float = 0.0) -> None:
    """SIGKILL the command `delay` seconds after it has printed so many steps."""
    process = start(folder)
    assert process.stdout is not None
    printed = (line for line in process.stdout if line.startswith("step "))
    for _ in range(steps):
        next(printed)
    time.sleep(delay)
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
    kill_after(tmp_path, steps=10)
    resumed = finish(tmp_path)
    assert comparable(resumed) == comparable(undisturbed)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path, undisturbed):
    """Kills at random moments of four attempts, then one while responses are decoded, change nothing."""
    rng = random.Random(0)
    for _ in range(4):
        kill_after(tmp_path, steps=rng.choice((1, 2)), delay=rng.uniform(0, 0.05))
    process = start(tmp_path)
    while not any(path.stat().st_size for path in tmp_path.rglob("after.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
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
