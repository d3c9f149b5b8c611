"""A cell that is killed, started again by the same command, ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

QUICK = (
    "model=tiny_qwen2", "data.max_per_task=40", "data.tasks=[mini_reasoning,mini_passage]", "recipe.epochs=2",
    "recipe.global_batch_size=8", "recipe.validations_per_epoch=100", "recipe.max_new_tokens=6", "recipe.patience=100",
    "trainer.checkpoint_every_steps=1", "trainer.micro_batch_size=4", "trainer.evaluation_batch_size=2",
    "recipe.compare_single=0",
)  # fmt: skip


def start(folder: Path, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
    paths = (f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}")
    command = [sys.executable, "-m", "hycam_exp", *QUICK, *paths, *overrides]
    environment, pipe = {**os.environ, **environment}, subprocess.PIPE
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in a shell's background
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, preexec_fn=heard)


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


def test_interrupted_in_an_allocation_it_ends_after_the_step_and_goes_on(tmp_path, undisturbed):
    """Inside an allocation of four tasks with srun at hand: after Ctrl-C as after SIGTERM one line alone, a shell's
    status, no failure, and the step that was made in the checkpoint; at the end the same bits."""
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    slurm = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "cells", "SLURM_NNODES": "2"}
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = start(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **slurm)
        assert process.stdout is not None
        made = int(next(line for line in process.stdout if line.startswith("step ")).split()[1].split("/")[0])
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == status
        assert errors == f"error: interrupted ({number.name}); the same command goes on from what is finished\n"
        (path,) = tmp_path.glob("outputs/*/training/last.ckpt")
        assert torch.load(path, weights_only=True)["global_step"] >= made
        assert list(tmp_path.glob("outputs/*/failures*")) == []
    assert comparable(finish(tmp_path)) == comparable(undisturbed)


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
