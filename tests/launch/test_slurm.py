"""The SLURM launcher, with submitit's own executors: on a small imitation of SLURM's commands, and on this machine."""

import os
import re
import shlex
import time
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from hycam_exp.config.compose import config_dir
from hycam_exp.config.grid import expand
from hycam_exp.launch import slurm
from hycam_exp.records import lease
from hycam_exp.records.lease import Observer, take
from tests.launch.test_local import FAIL, WRITE, command, names
from tests.records.test_lease import FAR
from tests.slurm_cells import FIELDS, GATE, grid, job, printed

pytestmark = pytest.mark.usefixtures("quick_slurm")


@pytest.mark.parametrize("where", [pytest.param("local", marks=pytest.mark.slow), "slurm"])
def test_cells_are_done_skipped_or_failed_and_none_stops_the_others(
    tmp_path: Path, fake_slurm: Path, where: str
) -> None:
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
    tmp_path: Path, fake_slurm: Path, changes: dict[str, object], trainer: str, message: str
) -> None:
    """Before anything is submitted, with the field, its value and the trainer's."""
    cells = [job(tmp_path, name, WRITE, trainer=trainer) for name in ("first", "second")]
    with pytest.raises(ValueError, match=f"hydra.launcher.{message}"):
        grid(tmp_path, *cells, **changes).run_all()
    assert not (fake_slurm / "scripts").exists()


def test_a_queued_cell_is_not_submitted_again(tmp_path: Path, fake_slurm: Path) -> None:
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
    assert len(list((fake_slurm / "scripts").iterdir())) == 2


def test_what_a_queued_cell_printed_before_its_job_is_no_reason(
    tmp_path: Path, fake_slurm: Path, monkeypatch: pytest.MonkeyPatch
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
    tmp_path: Path, fake_slurm: Path, monkeypatch: pytest.MonkeyPatch
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


def test_a_cell_that_failed_before_is_reported_unless_asked_for(tmp_path: Path, fake_slurm: Path) -> None:
    """After two recorded failures it is not submitted; retry=true submits it."""
    for retry, expected in (("false", ([], ["a"])), ("true", (["a"], []))):
        cell = job(tmp_path, "a", WRITE, retry=retry)
        while len(cell.store.failures("a")) < 2:
            cell.store.add_failure("a", ValueError("no luck at all"))
        found = grid(tmp_path, cell)
        found.run_all()
        assert (names(found.done), names(found.failed)) == expected
        assert [j.reason for j in found.failed] == ["no luck at all"] * len(found.failed)


def test_overwrite_counts_the_jobs_own_record(tmp_path: Path, fake_slurm: Path) -> None:
    """A second run that fails, or ends with status 0 before its record, is not taken for the old record's success."""
    for script, done in ((WRITE, ["a"]), (FAIL, []), ("", []), (WRITE, ["a"])):
        found = grid(tmp_path, job(tmp_path, "a", script, overwrite="true"))
        found.run_all()
        assert names(found.done) == done


def test_overwrite_counts_the_record_of_a_job_from_before(tmp_path: Path, fake_slurm: Path) -> None:
    """A command that finds the cell's job queued tells that job's record from the one that it was to replace."""
    grid(tmp_path, job(tmp_path, "a", WRITE)).run_all()
    for script, skipped in ((GATE, []), (GATE + WRITE, ["a"])):
        grid(tmp_path, job(tmp_path, "a", script, overwrite="true"), wait=False).run_all()
        found = grid(tmp_path, job(tmp_path, "a", FAIL, overwrite="true"))
        queued = found._sort()[1]
        (tmp_path / "go").touch()
        found._wait([], queued)
        (tmp_path / "go").unlink()
        assert names(found.skipped) == skipped
        assert len(found.skipped) + len(found.failed) == 1


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "gpus"}, "hydra.launcher.partition=gpus: this cluster has cpu, gpu"),
        ({"minutes": "soon"}, "hydra.launcher.minutes=soon: must be a whole number, at least 1"),
        ({"requeues": -1}, "hydra.launcher.requeues=-1: must be a whole number, at least 0"),
        ({"memory": 0}, "hydra.launcher.memory=0: must be GB, above 0"),
        ({"gpus_per_node": 2}, "hydra.launcher.gpus_per_node=2: trainer=cpu of "),
        ({"cpus": 65}, "hydra.launcher.cpus=65: no node that is asked for has more than 64 cores"),
        ({"memory": 65, "partition": "cpu"}, "hydra.launcher.memory=65: no node that is asked for has more than 64 GB"),
        ({"minutes": 2881, "partition": "gpu"}, "hydra.launcher.minutes=2881: no node that is asked for has more than"),
        ({"minutes": 2}, "hydra.launcher.minutes=2: SLURM's signal comes up to 150 s before the end: more minutes, or"),
        ({"signal_seconds": 0}, "hydra.launcher.signal_seconds=0: must be a whole number, at least 1"),
        ({"cluster": "lsf"}, "hydra.launcher.cluster=lsf: must be slurm or local"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_submitted(
    tmp_path: Path, fake_slurm: Path, changes: dict[str, object], message: str
) -> None:
    """Field, value and way out, and sbatch was never called."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    with pytest.raises(SystemExit) as caught:
        slurm.SlurmLauncher(**{**FIELDS, **changes}).launch([["fold=0", *paths], ["fold=1", *paths]], 0)
    assert str(caught.value).startswith(f"error: {message}")
    assert "\n" not in str(caught.value)
    assert not fake_slurm.exists()


def test_without_slurm_the_launcher_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without sbatch one line names the way out."""
    folders = os.environ["PATH"].split(os.pathsep)
    monkeypatch.setenv("PATH", os.pathsep.join(folder for folder in folders if not Path(folder, "sbatch").exists()))
    done = command("-m", "fold=0,1", "hydra/launcher=slurm", cwd=tmp_path)
    expected = "error: hydra.launcher.cluster=slurm: there is no sbatch on this machine: start it on a login node, "
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1


PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
FIELD = re.compile(r"`'(hydra\.launcher\.\w+=[^'`]+)'`")
COMMANDS = re.findall(r"^    python -m hycam_exp (-m .*)$", PAGE.replace("\\\n", " "), flags=re.MULTILINE)
GRIDS = [line for line in COMMANDS if "hydra/sweeper=" not in line]  # a search needs its plugin: tests/test_main.py


def launcher_of(*overrides: str) -> slurm.SlurmLauncher:
    """The launcher that Hydra makes of a command line."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        fields = hydra_compose("config", ["hydra/launcher=slurm", *overrides], return_hydra_config=True).hydra.launcher
    found = OmegaConf.to_container(fields, resolve=True)
    assert isinstance(found, dict), "a launcher has fields"
    found.pop("_target_")
    return slurm.SlurmLauncher(**{str(name): value for name, value in found.items()})


def test_the_fields_of_the_page_are_taken_as_they_stand(fake_slurm: Path) -> None:
    """Options of sbatch and lines of shell, in the form that docs/scaling.md gives, go through Hydra to the request."""
    asked = FIELD.findall(PAGE)
    assert len(asked) == 2
    request = launcher_of(*asked).grid([["fold=0"]]).request
    assert (request.sbatch, request.setup) == ({"exclude": "node7"}, ["module load cuda"])


@pytest.mark.parametrize("line", GRIDS)
def test_the_commands_of_the_page_compose(line: str) -> None:
    """Every grid of docs/scaling.md as it stands: its cells, and the launcher's fields."""
    words = [word for word in shlex.split(line, comments=True) if word != "-m"]
    of_launcher = [word for word in words if word.startswith("hydra.launcher.")]
    assert expand([word for word in words if word not in of_launcher], multirun=True)
    for word in of_launcher if "hydra/launcher=slurm" in words else ():
        field, _, value = word.removeprefix("hydra.launcher.").partition("=")
        assert str(launcher_of(word).fields[field]).lower() == value


TINY = (
    "model=tiny_qwen2", "method=lora", "data.max_per_task=10", "data.tasks=[mini_reasoning]", "recipe.epochs=1",
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
