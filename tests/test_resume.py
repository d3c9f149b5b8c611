"""A cell that is killed, started again by the same command, ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hycam_exp.cell import run_cell
from hycam_exp.config.compose import compose

QUICK = (
    "model=tiny_qwen2", "data.max_per_task=28", "data.tasks=[mini_reasoning,mini_passage]", "recipe.epochs=2",
    "recipe.global_batch_size=8", "recipe.validations_per_epoch=100", "recipe.max_new_tokens=6", "recipe.patience=100",
    "trainer.checkpoint_every_steps=1", "trainer.micro_batch_size=4", "trainer.evaluation_batch_size=2",
    "recipe.compare_single=0",
)  # fmt: skip
STEPS = 10


def overrides(folder: Path) -> list[str]:
    """The cell's own, in a folder."""
    text = folder / "general.txt"
    text.write_text("The river runs through the town.\n\nThe baker sells bread in the morning.")
    places = (f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}")
    return [*QUICK, f"model.retention_text={text}", *places]


def start(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """The cell by its command."""
    command = [sys.executable, "-m", "hycam_exp", *overrides(folder)]
    environment, pipe = {**os.environ, **environment}, subprocess.PIPE
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in a shell's background
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, preexec_fn=heard)


def finish(folder: Path) -> dict[str, Any]:
    """Run the cell to its end, and read its record."""
    run_cell(compose(*overrides(folder)))
    (record,) = (folder / "results" / "runs").glob("*.json")
    return dict(json.loads(record.read_text()))


def steps(process: "subprocess.Popen[str]") -> Iterator[int]:
    """The numbers of the steps that the command prints."""
    assert process.stdout is not None
    return (int(line.split()[1].split("/")[0]) for line in process.stdout if line.startswith("step "))


def kill(folder: Path, process: "subprocess.Popen[str]") -> None:
    """SIGKILL the command, which leaves no record."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list((folder / "results" / "runs").iterdir()) == []


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on interruptions."""
    return {key: record[key] for key in ("run_id", "scores", "curves", "fit", "counts", "data")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_interrupted_and_killed_it_goes_on_and_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: dict[str, Any], number: signal.Signals, status: int
) -> None:
    """Inside an allocation of four tasks with srun at hand: after Ctrl-C as after SIGTERM one line alone, a shell's
    status, no failure, and the step that was made in the checkpoint. In the second epoch another process is told which
    one runs the cell, and leaves it alone; then SIGKILL. The same cell again: same scores, curves and counts."""
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    slurm = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "cells", "SLURM_NNODES": "2"}
    process = start(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **slurm)
    made = next(steps(process))
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status
    assert errors == f"error: interrupted ({number.name}); the same command goes on from what is finished\n"
    (path,) = tmp_path.glob("outputs/*/training/last.ckpt")
    assert torch.load(path, weights_only=True)["global_step"] >= made
    assert list(tmp_path.glob("outputs/*/failures*")) == []
    process = start(tmp_path)
    made = next(step for step in steps(process) if step > STEPS / 2 + 1)
    process.send_signal(signal.SIGSTOP)
    assert made < STEPS
    with pytest.raises(ValueError, match=f"is being run by process {process.pid} on "):
        finish(tmp_path)
    kill(tmp_path, process)
    assert comparable(finish(tmp_path)) == comparable(undisturbed)
    assert undisturbed["fit"]["steps"] == STEPS


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    """Kills at random moments of four attempts, then one while responses are decoded, change nothing."""
    rng = random.Random(0)
    for _ in range(4):
        process = start(tmp_path)
        for _ in range(rng.choice((1, 2))):
            next(steps(process))
        time.sleep(rng.uniform(0, 0.05))
        kill(tmp_path, process)
    process = start(tmp_path)
    while not any(path.stat().st_size for path in tmp_path.rglob("after.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    kill(tmp_path, process)
    assert comparable(finish(tmp_path)) == comparable(undisturbed)
