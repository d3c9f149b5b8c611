"""The command line: JSON of a whole grid without torch, and a mistake in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = """
import sys
from hycam_exp.plan.__main__ import main
main(sys.argv[1:])
heavy = {"torch", "transformers", "peft", "pytorch_lightning"} & set(sys.modules)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, cwd=cwd)


def test_a_grid_as_json_without_torch(tmp_path):
    """60 cells in six lines; nothing heavy is loaded for it, and nothing is written."""
    done = command("experiment=mini", "--json", "--accelerator", "a100_40gb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["cells"], len(plan["lines"])) == (60, 6)
    assert plan["accelerator"]["name"] == "a100_40gb"
    documented = (ROOT / "docs" / "plan.md").read_text()
    assert all(key in documented for line in plan["lines"] for key in line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["methd=lora"], "error: methd: the config has no key methd; nearest: method"),
        (["method.rank=0"], "error: method.rank=0: must be at least 1"),
        (["--utilisation=2"], "error: --utilisation=2.0: must be above 0 and at most 1"),
        (["--gpus", "8"], "error: --gpus=8: needs --simulate slurm"),
        (["methd=lora", "--gpus", "8"], "error: --gpus=8: needs --simulate slurm"),  # before a grid is composed
        (["--simulate", "slurm"], "error: --simulate: needs --gpus"),
        (["--simulate", "slurm", "--gpus", "0"], "error: --gpus=0: must be at least 1"),
        (["method.layers=[9]"], "error: method.layers=9: the backbone has blocks 0..5"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, arguments, message):
    """Exit status 1 and one line on standard error."""
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_simulated_grid_as_json_without_torch(tmp_path):
    """60 cells on four GPUs of a cluster that preempts; every key is documented."""
    options = ["--simulate", "slurm", "--gpus", "4", "--preemptions-per-day", "2", "--repetitions", "5"]
    done = command("experiment=mini", "--accelerator", "a100_40gb", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["simulation"]
    assert (found["jobs"], found["left_out"], found["request"]["gpus"]) == (60, [], 4)
    assert [row["gpus"] for row in found["rows"][::2]] == [1, 2, 4, 8]
    documented = (ROOT / "docs" / "plan.md").read_text()
    assert all(key in documented for key in (*found, *found["rows"][0]))
