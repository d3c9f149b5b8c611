"""The README's two commands as a newcomer gives them: in one clone, in any order, on a login node too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.report.cache import Cache
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.frame import read
from hycam_exp.report.sources import RecordSource
from tests.leftovers import RUN, TEST

ROOT = Path(__file__).parents[1]
SLURM = ("srun", "sbatch", "squeue", "sinfo", "sacct", "scontrol", "scancel")
MINUTES = 30  # of all targets, on a machine that has other work


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is committed here, in a folder without ../shared, with this environment's packages."""
    folder = tmp_path / "alone" / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


@pytest.fixture
def login_node(tmp_path: Path) -> dict[str, str]:
    """The environment of a login node of a cluster: SLURM's commands are on the PATH, and none of them works."""
    commands = tmp_path / "slurm"
    commands.mkdir()
    for name in SLURM:
        (commands / name).write_text(f'#!/bin/sh\necho "{name}: no cluster here" >&2\nexit 1\n')
        (commands / name).chmod(0o755)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}


def status(clone: Path) -> str:
    """What git sees that is not committed."""
    return subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True).stdout


def make(clone: Path, environment: dict[str, str], target: str) -> str:
    """What a target prints; of one that fails the last lines are in the test's failure."""
    kept = [key for key in os.environ if not key.startswith(("PYTEST", "HYDRA")) or key in (RUN, TEST)]
    done = subprocess.run(
        ["make", "--assume-old=.venv/.ready", target], cwd=clone,
        env={**{key: os.environ[key] for key in kept}, "PYTHONPATH": str(clone), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"make {target}\n" + "\n".join(done.stdout.splitlines()[-60:])
    return done.stdout


NOBODY = ("unshare", "--user", "--map-user=54321", "--map-group=54321", "env", "--ignore-environment")
TINY = (
    "model=tiny_qwen2", "method=lora", "data.max_per_task=10", "data.tasks=[mini_reasoning]", "recipe.epochs=1",
    "recipe.global_batch_size=4", "evaluation.generate=false",
)  # fmt: skip


@pytest.mark.slow
def test_a_user_without_a_name_or_a_home_can_work(tmp_path: Path) -> None:
    """In a container with a foreign uid: a cell, its plan and its report; nothing is left outside their folders."""
    if subprocess.run([*NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a user namespace")
    environment = ("PATH=/usr/bin:/bin", f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
    for words in (("hycam_exp", *TINY), ("hycam_exp.plan", *TINY), ("hycam_exp.report",)):
        command = [*NOBODY, *environment, sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"results", "outputs"}


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_run_and_test_pass_in_one_clone_in_any_order(clone: Path, login_node: dict[str, str]) -> None:
    """make run, test, tables, test: all pass, the run is the user's own, and git has nothing to say."""
    printed = make(clone, login_node, "run")
    assert "srun" not in printed
    assert len(list((clone / "results" / "runs").glob("*.json"))) == 1
    assert read(RecordSource.own(clone / "results"), Experiments(Cache(None))).problems == ()
    for target in ("test", "tables", "test"):
        make(clone, login_node, target)
        assert status(clone) == "", target
    assert (clone / "results" / "report" / "report.html").is_file()
