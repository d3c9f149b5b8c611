"""Grids whose launchers and cells are killed at random moments end as if nothing had happened."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

GRID = (
    "-m", "model=tiny_qwen2", "method=lora,hycam", "fold=0,1", "data.max_per_task=10", "data.tasks=[mini_reasoning]",
    "recipe.epochs=1", "recipe.global_batch_size=2", "recipe.max_new_tokens=4", "recipe.compare_single=0",
    "trainer.checkpoint_every_steps=1", "hydra.launcher.n_jobs=2", "hydra.launcher.threads=1",
)  # fmt: skip
CELLS = 4


def start(folder: Path) -> subprocess.Popen[str]:
    """The command, with its cells in a process group of its own."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hycam_exp", *GRID]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the command's end; what it printed."""
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, printed + errors
    return printed


def records(folder: Path) -> dict[str, tuple[int, dict]]:
    """By run, the record with the time at which it was written."""
    paths = (folder / "results" / "runs").glob("*.json")
    return {path.stem: (path.stat().st_mtime_ns, json.loads(path.read_text())) for path in paths}


def comparable(folder: Path) -> dict[str, dict]:
    """Of every record, what must not depend on interruptions."""
    kept = ("scores", "curves", "fit", "counts", "data", "routing")
    return {name: {key: record[key] for key in kept} for name, (_, record) in records(folder).items()}


def kill(process: subprocess.Popen[str], rng: random.Random) -> None:
    """SIGKILL the launcher, one of its cells, or all of them at once, as a machine that goes down would."""
    what = rng.choice(("launcher", "cell", "all"))
    if process.poll() is not None:
        return
    cells = psutil.Process(process.pid).children()
    if what == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif what == "launcher" or not cells:
        process.kill()
    else:
        cell = rng.choice(cells)
        if cell.is_running():
            cell.kill()


def end(process: subprocess.Popen[str]) -> None:
    """Nothing of the command is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        assert process.poll() is not None
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], float]:
    """The records of a grid that nobody disturbs, and its seconds."""
    folder, begun = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    assert f"{CELLS} done, 0 skipped, 0 failed" in finish(start(folder))
    return comparable(folder), time.monotonic() - begun


@pytest.mark.slow
def test_a_grid_that_is_killed_again_and_again_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: tuple[dict[str, dict], float]
) -> None:
    """Every cell has one record, equal to an undisturbed grid's, and none was written anew once it was there."""
    expected, seconds = undisturbed
    rng, written = random.Random(0), {}
    for _ in range(5):
        process = start(tmp_path)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.1, 0.5) * seconds)
        kill(process, rng)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 0.1) * seconds)
        end(process)
        written |= {name: moment for name, (moment, _) in records(tmp_path).items() if name not in written}
    assert ", 0 failed" in finish(start(tmp_path))
    assert comparable(tmp_path) == expected
    assert {name: records(tmp_path)[name][0] for name in written} == written
    assert f"0 done, {CELLS} skipped, 0 failed" in finish(start(tmp_path))


@pytest.mark.slow
def test_a_grid_that_is_told_to_end_leaves_no_cell(tmp_path: Path) -> None:
    """SIGTERM to the launcher alone: one line, a shell's status, and no process of a cell lives on."""
    process = start(tmp_path)
    while len(cells := psutil.Process(process.pid).children()) < 2:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == "error: interrupted (SIGTERM); the same command goes on from what is finished\n"
    assert [cell.pid for cell in cells if cell.is_running()] == []


@pytest.mark.slow
def test_two_grids_at_once_share_the_work(tmp_path: Path, undisturbed: tuple[dict[str, dict], float]) -> None:
    """Started together on one folder, one of them killed on the way: every cell is computed by one of them."""
    expected, seconds = undisturbed
    first, second = start(tmp_path), start(tmp_path)
    time.sleep(0.5 * seconds)
    end(first)
    assert ", 0 failed" in finish(second)
    assert comparable(tmp_path) == expected
    attempts = [json.loads(p.read_text())["attempt"] for p in (tmp_path / "outputs").glob("*/attempt.json")]
    assert len(attempts) == CELLS
    assert sum(attempts) <= CELLS + 2  # of the killed grid, each cell that was under way once more
