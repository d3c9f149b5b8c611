"""What SLURM is asked and told, on a small imitation of its commands, and what it answers."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hycam_exp.launch import slurm_queue
from hycam_exp.launch.slurm_queue import Submission
from tests.launch.test_local import WRITE
from tests.slurm_cells import GATE, Scripted, grid, job, printed

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


def test_an_array_is_no_longer_than_the_cluster_takes(tmp_path: Path, fake_slurm: Path) -> None:
    """Nine cells where MaxArraySize is seven: seven, and two."""
    cells = [job(tmp_path, f"c{i}", WRITE) for i in range(9)]
    grid(tmp_path, *cells, wait=False).run_all()
    scripts = [directives(path.read_text()) for path in sorted((fake_slurm / "scripts").iterdir())]
    assert [script["array"] for script in scripts] == ["0-6%7", "0-1%2"]


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", math.inf), ("30:00", 30), ("2:30:00", 150), ("1-02:00:00", 1560), ("45", 0.75), ("n/a", math.inf)],
)
def test_limits_are_read_as_slurm_writes_them(limit: str, minutes: float) -> None:
    """Days, hours and minutes as far as they are there."""
    assert slurm_queue._minutes(limit) == minutes


def test_who_waits_is_told_every_change(tmp_path: Path, fake_slurm: Path) -> None:
    """Without a terminal: the job's number and its log at once, then why it is pending, that it runs, and its end."""
    cell = job(tmp_path, "a", GATE + WRITE)
    found = grid(tmp_path, cell)
    (fake_slurm / "reason").mkdir(parents=True)
    (fake_slurm / "reason" / "100").write_text("Resources")
    say = found.say

    def saying(of: Scripted, what: str) -> None:
        say(of, what)
        if what.endswith("(Resources)"):
            (fake_slurm / "reason" / "100").unlink()
        if what.endswith("RUNNING"):
            (tmp_path / "go").touch()

    found.say = saying
    found.run_all()
    told = [line.partition(": ")[2] for line in printed(found).splitlines() if line.startswith("[")]
    assert told == [
        f"submitted as job 100, prints into {cell.log}", "job 100 is PENDING (Resources)", "job 100 is RUNNING", "done",
    ]  # fmt: skip


def test_a_line_of_setup_that_fails_fails_the_job(tmp_path: Path, fake_slurm: Path) -> None:
    """The cell is not started, and what the shell said is on file with the cell's failures."""
    cell = job(tmp_path, "a", WRITE)
    found = grid(tmp_path, cell, setup=["echo module: no such thing >&2", "false"])
    found.run_all()
    assert [j.reason for j in found.failed] == [f"job 100: FAILED, see {cell.log}"]
    (failure,) = cell.store.failures("a")
    assert failure["message"] == "job 100: FAILED\nmodule: no such thing"
    assert cell.store.read("a") is None


@pytest.mark.parametrize("state", ["CANCELLED by 7", "TIMEOUT", "NODE_FAIL", "PREEMPTED"])
def test_what_others_ended_is_no_failure(tmp_path: Path, fake_slurm: Path, state: str) -> None:
    """A job that was cancelled, or whose node went down, is told with SLURM's word, and not counted."""
    cell = job(tmp_path, "a", WRITE)
    cell.submission = Submission("slurm", "77", "x/%j")
    (fake_slurm / "state").mkdir(parents=True)
    (fake_slurm / "state" / "77").write_text(state)
    assert cell.conclude() == f"job 77: {state}, see {cell.log}"
    assert cell.store.failures("a") == []


def test_two_commands_at_once_submit_each_cell_once(tmp_path: Path, fake_slurm: Path) -> None:
    """Started together, one submits all of them, and the other finds them queued."""
    grids = [grid(tmp_path, *(job(tmp_path, name, GATE + WRITE) for name in "abc"), wait=False) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda found: found.run_all(), grids))
    assert sorted([j.ours for j in found.jobs] for found in grids) == [[False] * 3, [True] * 3]
    assert len(list((fake_slurm / "scripts").iterdir())) == 1


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
