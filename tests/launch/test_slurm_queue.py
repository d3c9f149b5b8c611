"""What SLURM is asked and told, on a small imitation of its commands, and what it answers."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from submitit.core.utils import JobPaths

from hycam_exp.launch import slurm_queue
from hycam_exp.launch.slurm_queue import Submission
from tests.launch.test_local import WRITE
from tests.slurm_cells import grid, job, printed

pytestmark = pytest.mark.usefixtures("quick_slurm")


def directives(script: str) -> dict[str, str | bool]:
    """What an sbatch script asks for."""
    pairs = (line.removeprefix("#SBATCH --").partition("=") for line in script.splitlines() if "#SBATCH" in line)
    return {name: value.strip("'") if equals else True for name, equals, value in pairs}


def test_what_sbatch_is_given(tmp_path: Path, fake_slurm: Path) -> None:
    """Every field is its directive; jobs with the same needs are one array, with at most so many at once."""
    cells = [job(tmp_path, f"c{i}", WRITE, trainer="ddp", **{"trainer.devices": 4}) for i in range(3)]
    fields = {
        "partition": "gpu", "account": "lab", "qos": "high", "constraint": "a100", "cpus": 16, "memory": 120,
        "minutes": 90, "array_parallelism": 2, "setup": ["module load cuda"], "sbatch": {"exclude": "node7"},
        "gpus_per_node": "a100:4", "wait": False,
    }  # fmt: skip
    found = grid(tmp_path, *cells, **fields)
    found.run_all()
    (path,) = (fake_slurm / "scripts").iterdir()
    given = directives(path.read_text())
    expected = {
        "partition": "gpu", "account": "lab", "qos": "high", "constraint": "a100", "cpus-per-task": "16",
        "mem": "120GB", "time": "90", "array": "0-2%2", "nodes": "1", "ntasks-per-node": "1", "exclude": "node7",
        "gpus-per-node": "a100:4", "requeue": True, "signal": "USR2@90", "job-name": "hycam",
    }  # fmt: skip
    assert {key: value for key, value in given.items() if key in expected} == expected
    assert set(given) - set(expected) == {"error", "output", "open-mode", "wckey"}
    assert "\nmodule load cuda\n" in path.read_text()


@pytest.mark.parametrize(("trainer", "gpus"), [("cpu", None), ("gpu", "1"), ("zero3", "8")])
def test_gpus_are_the_trainers(tmp_path: Path, fake_slurm: Path, trainer: str, gpus: str | None) -> None:
    """Without a number of its own the launcher asks for the devices of the trainer; null fields ask for nothing."""
    grid(tmp_path, job(tmp_path, "a", WRITE, trainer=trainer), requeue=False, wait=False).run_all()
    (path,) = (fake_slurm / "scripts").iterdir()
    given = directives(path.read_text())
    assert given.get("gpus-per-node") == gpus
    assert given["no-requeue"] is True
    assert not {"partition", "account", "qos", "constraint", "array"} & set(given)


def test_cells_with_other_needs_are_other_arrays(tmp_path: Path, fake_slurm: Path) -> None:
    """One array for each number of nodes and devices."""
    shapes = [("cpu", 1), ("ddp", 1), ("ddp", 2), ("zero3", 2)]
    cells = [job(tmp_path, f"c{i}", WRITE, trainer=t, **{"trainer.num_nodes": n}) for i, (t, n) in enumerate(shapes)]
    found = grid(tmp_path, *cells, wait=False)
    found.run_all()
    scripts = [directives(path.read_text()) for path in sorted((fake_slurm / "scripts").iterdir())]
    assert [(s["nodes"], s.get("gpus-per-node"), s.get("array")) for s in scripts] == [
        ("1", None, None), ("1", "8", None), ("2", "8", "0-1%2"),
    ]  # fmt: skip
    assert "4 submitted, 0 skipped, 0 failed\nlook: squeue --jobs=100,101,102; end: scancel 100 101 102" in printed(
        found
    )


@pytest.mark.parametrize("content", ["", '{"cluster": "sl', "[]", '{"cluster": "slurm"}'])
def test_a_damaged_job_file_is_named(tmp_path: Path, fake_slurm: Path, content: str) -> None:
    """What is not known to be queued is not submitted: the error has the file and the way out."""
    cell = job(tmp_path, "a", WRITE)
    path = cell.store.folder("a") / "job.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^{path}: .*: see that no job of this cell is queued, and move the file"):
        grid(tmp_path, cell).run_all()
    assert not (fake_slurm / "scripts").exists()


def test_a_job_that_ended_by_an_error_has_not_succeeded(tmp_path: Path) -> None:
    """submitit keeps an error as a job's result, too: the record from before is then not that of the cell run again."""
    subprocess.run([sys.executable, "-c", WRITE % {"folder": tmp_path, "run_id": "a"}], check=True)
    for outcome, is_done in (("error", False), ("success", True)):
        again = job(tmp_path, "a", WRITE, overwrite=True)
        again.submission = Submission("slurm", "7", str(tmp_path / "%j"))
        path = JobPaths(again.submission.folder, "7", 0).result_pickle
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps((outcome, None)))
        assert again.is_done() is is_done


def test_what_sbatch_refuses_is_one_line(tmp_path: Path, fake_slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SLURM's own words; nothing else is printed."""
    fake_slurm.mkdir()
    (fake_slurm / "refuse").write_text("sbatch: error: Batch job submission failed: Invalid account\n")
    with pytest.raises(ValueError, match=r"^sbatch: sbatch: error: Batch job submission failed: Invalid account$"):
        grid(tmp_path, job(tmp_path, "a", WRITE)).run_all()
    assert capsys.readouterr() == ("", "")


def test_a_silent_queue_submits_nothing_and_ends_nothing(
    tmp_path: Path, fake_slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If squeue does not answer, it is not known what is queued."""
    cell = job(tmp_path, "a", WRITE)
    cell.store.folder("a").mkdir(parents=True)
    Submission("slurm", "77", "x").remember(cell.store.folder("a"))
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(ValueError, match="squeue does not answer: nothing was submitted"):
        grid(tmp_path, cell).run_all()
    found = grid(tmp_path)
    cell.submission = Submission("slurm", "77", "x")
    assert not found._has_ended(cell, slurm_queue.states([cell.submission]))
