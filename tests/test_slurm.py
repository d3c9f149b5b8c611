"""The SLURM launcher, with submitit's own executors: on a small imitation of SLURM's commands, and on this machine."""

import io
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from submitit.core.utils import JobPaths

from hycam_exp import lease, slurm, slurm_queue
from hycam_exp.config import compose, config_dir
from hycam_exp.lease import Observer, take
from hycam_exp.slurm import SlurmGrid, SlurmJob
from hycam_exp.slurm_queue import Need, Request, Submission
from hycam_exp.slurm_task import ClusterJob
from tests.test_launcher import FAIL, WRITE, command, names
from tests.test_lease import FAR

FIELDS: dict[str, Any] = yaml.safe_load((config_dir() / "hydra" / "launcher" / "slurm.yaml").read_text())
del FIELDS["_target_"]
FAKE = Path(__file__).with_name("fake_slurm.py")
GATE = "import time, pathlib\nwhile not pathlib.Path('%(folder)s/go').exists(): time.sleep(0.02)\n"


@dataclass
class Scripted(SlurmJob):
    """A cell that is the given script."""

    script: str = ""

    @property
    def command(self) -> list[str]:
        folder = Path(self.run.paths.outputs).parent
        return [sys.executable, "-c", self.script % {"folder": folder, "run_id": self.run_id}]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "POLL", {"slurm": 0.1, "local": 0.1})
    monkeypatch.setattr(slurm, "SETTLE", {"slurm": 0.3, "local": 0.0})


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything that the imitation of SLURM knows; its commands are on the PATH."""
    state, commands = tmp_path / "slurm", tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "srun", "squeue", "sinfo", "sacct", "scontrol", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    yield state
    (tmp_path / "go").touch()  # what waits for it ends
    for path in (state / "live").glob("*"):
        subprocess.run(["kill", "--", f"-{path.read_text()}"], capture_output=True)


def job(folder: Path, run_id: str, script: str, **changes: object) -> Scripted:
    overrides = [f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}"]
    run = compose(*overrides, *(f"{key}={value}" for key, value in changes.items()))
    return Scripted([], run, run_id, script=script)


def grid(folder: Path, *jobs: SlurmJob, **changes: object) -> SlurmGrid:
    fields = {**FIELDS, "folder": str(folder / "submitit"), **changes}
    own = {name: fields.pop(name) for name in ("nodes", "gpus_per_node", "wait")}
    console = Console(width=200, file=io.StringIO())
    return SlurmGrid(list(jobs), Request(**fields), **own, console=console)


def printed(found: SlurmGrid) -> str:
    assert isinstance(found.console.file, io.StringIO)
    return found.console.file.getvalue()


def directives(script: str) -> dict[str, str | bool]:
    """What an sbatch script asks for."""
    pairs = (line.removeprefix("#SBATCH --").partition("=") for line in script.splitlines() if "#SBATCH" in line)
    return {name: value.strip("'") if equals else True for name, equals, value in pairs}


@pytest.mark.parametrize("where", [pytest.param("local", marks=pytest.mark.slow), "slurm"])
def test_cells_are_done_skipped_or_failed_and_none_stops_the_others(tmp_path: Path, fake: Path, where: str) -> None:
    """A failing cell is reported with the reason that it printed, a killed one too; finished ones are not submitted
    again by the same command."""
    killed = "import os; os.kill(os.getpid(), 9)"
    for expected in ((["a", "c"], []), ([], ["a", "c"])):
        cells = [job(tmp_path, name, script) for name, script in zip("abcd", (WRITE, FAIL, WRITE, killed), strict=True)]
        found = grid(tmp_path, *cells, cluster=where)
        found.run_all()
        assert (names(found.done), names(found.skipped)) == expected
        assert {j.run_id: j.reason for j in found.failed} == {"b": "no luck", "d": "killed by signal 9"}
        assert [j.run_id for j in found.jobs if j.ours] == [*expected[0][:1], "b", *expected[0][1:], "d"]


def test_what_sbatch_is_given(tmp_path: Path, fake: Path) -> None:
    """Every field is its directive; jobs with the same needs are one array, with at most so many at once."""
    cells = [job(tmp_path, f"c{i}", WRITE, trainer="ddp", **{"trainer.devices": 4}) for i in range(3)]
    fields = {
        "partition": "gpu", "account": "lab", "qos": "high", "constraint": "a100", "cpus": 16, "memory": 120,
        "minutes": 90, "array_parallelism": 2, "setup": ["module load cuda"], "sbatch": {"exclude": "node7"},
        "gpus_per_node": "a100:4", "wait": False,
    }  # fmt: skip
    found = grid(tmp_path, *cells, **fields)
    found.run_all()
    (path,) = (fake / "scripts").iterdir()
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
def test_gpus_are_the_trainers(tmp_path: Path, fake: Path, trainer: str, gpus: str | None) -> None:
    """Without a number of its own the launcher asks for the devices of the trainer; null fields ask for nothing."""
    grid(tmp_path, job(tmp_path, "a", WRITE, trainer=trainer), requeue=False, wait=False).run_all()
    (path,) = (fake / "scripts").iterdir()
    given = directives(path.read_text())
    assert given.get("gpus-per-node") == gpus
    assert given["no-requeue"] is True
    assert not {"partition", "account", "qos", "constraint", "array"} & set(given)


def test_cells_with_other_needs_are_other_arrays(tmp_path: Path, fake: Path) -> None:
    """One array for each number of nodes and devices."""
    shapes = [("cpu", 1), ("ddp", 1), ("ddp", 2), ("zero3", 2)]
    cells = [job(tmp_path, f"c{i}", WRITE, trainer=t, **{"trainer.num_nodes": n}) for i, (t, n) in enumerate(shapes)]
    found = grid(tmp_path, *cells, wait=False)
    found.run_all()
    scripts = [directives(path.read_text()) for path in sorted((fake / "scripts").iterdir())]
    assert [(s["nodes"], s.get("gpus-per-node"), s.get("array")) for s in scripts] == [
        ("1", None, None), ("1", "8", None), ("2", "8", "0-1%2"),
    ]  # fmt: skip
    assert "4 submitted, 0 skipped, 0 failed\nlook: squeue --jobs=100,101,102; end: scancel 100 101 102" in printed(
        found
    )


@pytest.mark.parametrize(
    ("changes", "trainer", "message"),
    [
        ({"gpus_per_node": 4}, "ddp", "gpus_per_node=4: trainer=ddp of first uses 8 GPUs of a node"),
        ({"gpus_per_node": "a100:4"}, "ddp", "gpus_per_node=a100:4: trainer=ddp of first uses 8 GPUs"),
        ({"gpus_per_node": 1}, "cpu", "gpus_per_node=1: trainer=cpu of first uses 0 GPUs of a node"),
        ({"gpus_per_node": "many"}, "gpu", "gpus_per_node=many: trainer=gpu of first uses 1 GPUs"),
        ({"nodes": 2}, "gpu", "nodes=2: must be trainer.num_nodes=1 of first, or null"),
    ],
)
def test_a_shape_that_is_not_the_trainers_is_refused(
    tmp_path: Path, fake: Path, changes: dict[str, object], trainer: str, message: str
) -> None:
    """Before anything is submitted, with the field, its value and the trainer's."""
    cells = [job(tmp_path, name, WRITE, trainer=trainer) for name in ("first", "second")]
    with pytest.raises(ValueError, match=f"hydra.launcher.{message}"):
        grid(tmp_path, *cells, **changes).run_all()
    assert not (fake / "scripts").exists()


def test_a_queued_cell_is_not_submitted_again(tmp_path: Path, fake: Path) -> None:
    """A second command says which job the cell has, submits the rest, and counts the first one's success as skipped."""
    first = grid(tmp_path, job(tmp_path, "a", GATE + WRITE), wait=False)
    first.run_all()
    second = grid(tmp_path, job(tmp_path, "a", FAIL), job(tmp_path, "b", WRITE), wait=False)
    second.run_all()
    assert "a: already queued as job 100, not submitted again" in printed(second)
    assert [j.run_id for j in second.jobs if j.ours] == ["b"]
    third = grid(tmp_path, job(tmp_path, "a", FAIL), job(tmp_path, "b", FAIL))
    (tmp_path / "go").touch()
    third.run_all()
    assert (names(third.skipped), third.done, third.failed) == (["a", "b"], [], [])
    assert len(list((fake / "scripts").iterdir())) == 2


@pytest.mark.parametrize("content", ["", '{"cluster": "sl', "[]", '{"cluster": "slurm"}'])
def test_a_damaged_job_file_is_named(tmp_path: Path, fake: Path, content: str) -> None:
    """What is not known to be queued is not submitted: the error has the file and the way out."""
    cell = job(tmp_path, "a", WRITE)
    path = cell.store.folder("a") / "job.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^{path}: .*: see that no job of this cell is queued, and move the file"):
        grid(tmp_path, cell).run_all()
    assert not (fake / "scripts").exists()


def test_what_a_queued_cell_printed_before_its_job_is_no_reason(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job that another command has submitted, only what that job printed says why it failed."""
    first = grid(tmp_path, job(tmp_path, "a", GATE + "raise SystemExit(3)"), wait=False)
    first.jobs[0].log.parent.mkdir(parents=True)
    first.jobs[0].log.write_text("error: of an attempt before\n")
    first.run_all()
    second = grid(tmp_path, job(tmp_path, "a", WRITE))
    monkeypatch.setattr(second, "say", lambda *said: (tmp_path / "go").touch())  # once it has found the job queued
    second.run_all()
    (failed,) = second.failed
    assert "of an attempt before" not in str(failed.reason)
    assert str(failed.reason).startswith("job 100: ")


def test_a_cell_that_another_host_runs_is_not_submitted(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that beats is left alone; one that stands still for long enough is a dead process's, and is submitted."""
    for name, seconds in (("BEAT", 0.05), ("STALE", 1.0), ("LOOK", 0.02)):
        monkeypatch.setattr(lease, name, seconds)
    cells = [job(tmp_path, name, WRITE) for name in "ab"]
    held = []
    for cell in cells:
        folder = cell.store.folder(cell.run_id)
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        held.append(take(folder, Observer(FAR).look(folder), FAR))
    living = held[0]
    assert living is not None
    sleep = time.sleep

    def beat(seconds: float) -> None:
        living.beat()
        sleep(seconds)

    monkeypatch.setattr(slurm.time, "sleep", beat)
    found = grid(tmp_path, *cells, wait=False)
    found.run_all()
    assert [j.run_id for j in found.jobs if j.ours] == ["b"]
    assert "a: being run by another process, not submitted" in printed(found)


def test_a_cell_that_failed_before_is_reported_unless_asked_for(tmp_path: Path, fake: Path) -> None:
    """After two recorded failures it is not submitted; retry=true submits it."""
    for retry, expected in (("false", ([], ["a"])), ("true", (["a"], []))):
        cell = job(tmp_path, "a", WRITE, retry=retry)
        while len(cell.store.failures("a")) < 2:
            cell.store.add_failure("a", ValueError("no luck at all"))
        found = grid(tmp_path, cell)
        found.run_all()
        assert (names(found.done), names(found.failed)) == expected
        assert [j.reason for j in found.failed] == ["no luck at all"] * len(found.failed)


@pytest.mark.slow
def test_overwrite_counts_the_jobs_own_end(tmp_path: Path, fake: Path) -> None:
    """A failed second run is not taken for the old record's success, and a third may succeed."""
    for script, done in ((WRITE, ["a"]), (FAIL, []), (WRITE, ["a"])):
        found = grid(tmp_path, job(tmp_path, "a", script, overwrite="true"))
        found.run_all()
        assert names(found.done) == done


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


def test_a_preempted_job_goes_back_into_the_queue_and_runs_the_same_command(tmp_path: Path, fake: Path) -> None:
    """SLURM's signal ends the cell, the job is requeued under its number, and its second start finishes the cell."""
    marks = "open('%(folder)s/started', 'a').write('x')\n"
    cell = job(tmp_path, "a", marks + GATE + WRITE)
    first = grid(tmp_path, cell, wait=False)
    first.run_all()
    started = tmp_path / "started"
    while not started.is_file():
        time.sleep(0.02)
    subprocess.run(["scancel", "100", "--signal", "USR2"], check=True)
    while started.read_text() != "xx":
        time.sleep(0.02)
    (tmp_path / "go").touch()
    second = grid(tmp_path, job(tmp_path, "a", FAIL))
    second.run_all()
    assert names(second.skipped) == ["a"]
    assert len(list((fake / "scripts").iterdir())) == 1


def test_a_job_that_may_not_be_requeued_has_failed(tmp_path: Path, fake: Path) -> None:
    """Without requeue the same signal ends the job, and SLURM's word on it is the reason."""
    cell = job(tmp_path, "a", "open('%(folder)s/started', 'w')\n" + GATE + WRITE)
    grid(tmp_path, cell, wait=False, requeue=False).run_all()
    while not (tmp_path / "started").is_file():
        time.sleep(0.02)
    found = grid(tmp_path, job(tmp_path, "a", FAIL))
    queued = found._sort()[1]
    subprocess.run(["scancel", "100", "--signal", "USR2"], check=True)
    found._wait([], queued)
    assert [j.reason for j in found.failed] == [f"job 100: FAILED, see {cell.log}"]


def test_several_nodes_meet_at_the_first(tmp_path: Path, fake: Path) -> None:
    """One task on each of two nodes; each is told its number, and both the first node's name and one port."""
    cell = job(tmp_path, "a", WRITE, trainer="ddp", **{"trainer.num_nodes": 2})
    found = grid(tmp_path, cell, nodes=2)
    need = found._need(cell)
    assert need == Need(nodes=2, gpus=8, kind=None)
    asked = ClusterJob([sys.executable, "-m", "hycam_exp", "fold=1", "hydra.mode=RUN"], ".", "log", 8, True)
    commands = [asked.on_node(node, 2, ["host1", "host2"]) for node in (0, 1)]
    for node, told in enumerate(commands):
        assert told == [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=8", f"--node-rank={node}",
            "--master-addr=host1", "--master-port=20000", "-m", "hycam_exp", "fold=1", "hydra.mode=RUN",
        ]  # fmt: skip
    assert asked.on_node(0, 1, ["host1"]) == asked.command


RANK = """
import os, sys, torch.distributed as dist
dist.init_process_group("gloo")
everyone = [None] * dist.get_world_size()
dist.all_gather_object(everyone, (int(os.environ["GROUP_RANK"]), dist.get_rank(), "SLURM_NTASKS" in os.environ))
if dist.get_rank() == 0:
    open(sys.argv[1], "w").write(repr(sorted(everyone)))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_of_two_nodes_find_each_other(tmp_path: Path, fake: Path) -> None:
    """Two tasks of a real submitit job start two ranks each under torch's launcher, and all four gather."""
    (tmp_path / "rank.py").write_text(RANK)
    asked = ClusterJob(
        [sys.executable, "-m", "rank", str(tmp_path / "gathered")], str(tmp_path), str(tmp_path / "log"), 2, True
    )
    request = Request(**{k: v for k, v in FIELDS.items() if k not in ("nodes", "gpus_per_node", "wait")})
    (submission,) = replace(request, folder=str(tmp_path / "submitit")).submit([asked], Need(2, 0, None))
    while submission.job in (slurm_queue.states([submission]) or {}):
        time.sleep(0.1)
    assert (tmp_path / "gathered").read_text() == repr([(rank // 2, rank, False) for rank in range(4)])


def test_local_portions_start_one_after_another(tmp_path: Path) -> None:
    """On this machine at most so many run at once, which submitit itself does not see to; without waiting it is
    refused."""
    count = (
        "import time, pathlib; p = pathlib.Path('%(folder)s/marks'); p.mkdir(exist_ok=True);"
        "m = p / '%(run_id)s'; m.touch(); time.sleep(0.15); n = len(list(p.iterdir())); m.unlink();"
        "assert n <= 2, n\n" + WRITE
    )
    cells = [job(tmp_path, f"cell{i}", count) for i in range(3)]
    with pytest.raises(ValueError, match=r"cluster=local: starts all 3 cells at once .*: hydra.launcher.wait=true"):
        grid(tmp_path, *cells, cluster="local", array_parallelism=2, wait=False).run_all()
    found = grid(tmp_path, *cells, cluster="local", array_parallelism=2)
    found.run_all()
    assert (len(found.done), found.failed) == (3, [])


def test_what_sbatch_refuses_is_one_line(tmp_path: Path, fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SLURM's own words; nothing else is printed."""
    fake.mkdir()
    (fake / "refuse").write_text("sbatch: error: Batch job submission failed: Invalid account\n")
    with pytest.raises(ValueError, match=r"^sbatch: sbatch: error: Batch job submission failed: Invalid account$"):
        grid(tmp_path, job(tmp_path, "a", WRITE)).run_all()
    assert capsys.readouterr() == ("", "")


def test_a_silent_queue_submits_nothing_and_ends_nothing(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "gpus"}, "hydra.launcher.partition=gpus: this cluster has cpu, gpu"),
        ({"minutes": "soon"}, "hydra.launcher.minutes=soon: must be a whole number, at least 1"),
        ({"requeues": -1}, "hydra.launcher.requeues=-1: must be a whole number, at least 0"),
        ({"memory": 0}, "hydra.launcher.memory=0: must be GB, above 0"),
        ({"gpus_per_node": 2}, "hydra.launcher.gpus_per_node=2: trainer=cpu of "),
        ({"cluster": "lsf"}, "hydra.launcher.cluster=lsf: must be slurm or local"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_submitted(
    tmp_path: Path, fake: Path, changes: dict[str, object], message: str
) -> None:
    """Field, value and way out, and sbatch was never called."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    with pytest.raises(SystemExit) as caught:
        slurm.SlurmLauncher(**{**FIELDS, **changes}).launch([["fold=0", *paths], ["fold=1", *paths]], 0)
    assert str(caught.value).startswith(f"error: {message}")
    assert "\n" not in str(caught.value)
    assert not fake.exists()


def test_without_slurm_the_launcher_says_so(tmp_path: Path) -> None:
    """On a machine without sbatch one line names the way out."""
    done = command("-m", "fold=0,1", "hydra/launcher=slurm", cwd=tmp_path)
    expected = "error: hydra.launcher.cluster=slurm: there is no sbatch on this machine: start it on a login node, "
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1


TINY = (
    "model=tiny_qwen2", "method=lora", "data.max_per_task=10", "data.tasks=[auto_cot]", "recipe.epochs=1",
    "recipe.global_batch_size=4", "evaluation.generate=false",
)  # fmt: skip


@pytest.mark.slow
def test_a_grid_of_real_cells_through_submitit(tmp_path: Path) -> None:
    """Two cells on this machine, one of which fails while it trains: the other is done, the reason is printed, and the
    same command skips what is finished."""
    where = ("hydra/launcher=slurm", "hydra.launcher.cluster=local")
    for count in ("1 done, 0 skipped, 1 failed", "0 done, 1 skipped, 1 failed"):
        done = command("-m", *TINY, "recipe.learning_rate=0.001,1e30", *where, cwd=tmp_path, seconds=500)
        assert done.returncode == 1
        assert count in done.stdout
        assert re.search(r"^failed: tiny_qwen2-lora-mini-f0-s0-\S+: \S", done.stdout, flags=re.MULTILINE)
    assert len(list((tmp_path / "results" / "runs").glob("*.json"))) == 1
