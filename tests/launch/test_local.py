"""The launcher, with cells that are small scripts instead of trainings."""

import fcntl
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from rich.console import Console

from hycam_exp.config.compose import compose
from hycam_exp.launch import local as launcher
from hycam_exp.launch.local import LocalGrid, LocalJob
from hycam_exp.runtime.interruption import ended_by_signals

WRITE = """
from pathlib import Path
from hycam_exp.records.store import Store
from tests.made import made
Store(Path("%(folder)s/results/runs"), Path("%(folder)s/outputs")).write(made(run_id="%(run_id)s"))
"""
FAIL = "import sys; sys.exit('error: no luck')"


@dataclass
class Scripted(LocalJob):
    """A cell whose attempts are the given scripts."""

    scripts: tuple[str, ...] = ()

    def start(self, environment: dict[str, str]) -> None:
        script = self.scripts[min(self.attempts, len(self.scripts) - 1)]
        folder = Path(self.run.paths.outputs).parent
        script = script % {"folder": folder, "run_id": self.run_id} if "%(" in script else script
        self.overrides = [script]
        self.begin()
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen([sys.executable, "-c", script], stdout=stream, stderr=stream)
        self.attempts += 1
        self.started = launcher.time.monotonic()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "POLL", 0.02)


def job(folder: Path, run_id: str, *scripts: str, **changes: str) -> Scripted:
    overrides = [f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}"]
    run = compose(*overrides, *(f"{key}={value}" for key, value in changes.items()))
    return Scripted([], run, run_id, scripts=scripts)


def grid(*jobs: LocalJob, n_jobs: int = 2) -> LocalGrid:
    return LocalGrid(list(jobs), n_jobs, [{}], console=Console(width=200, record=True, quiet=True))


def names(jobs: list[LocalJob]) -> list[str]:
    return sorted(job.run_id for job in jobs)


def test_cells_are_done_skipped_or_failed_and_none_stops_the_others(tmp_path: Path) -> None:
    """A failing cell is tried twice and reported with its reason; finished ones are skipped the second time."""
    for expected in ((["a", "c"], [], ["b"]), ([], ["a", "c"], ["b"])):
        found = grid(job(tmp_path, "a", WRITE), job(tmp_path, "b", FAIL), job(tmp_path, "c", WRITE))
        found.run_all()
        assert (names(found.done), names(found.skipped), names(found.failed)) == expected
        assert [j.attempts for j in found.failed] == [2]
        assert found.failed[0].reason == "no luck"


def test_a_cell_that_failed_once_may_succeed(tmp_path: Path) -> None:
    """The second attempt counts."""
    found = grid(job(tmp_path, "a", FAIL, WRITE))
    found.run_all()
    assert (names(found.done), found.failed) == (["a"], [])


def test_a_cell_that_was_killed_is_started_again(tmp_path: Path) -> None:
    """A process that dies by a signal is no failure of the cell's own."""
    found = grid(job(tmp_path, "a", "import os; os.kill(os.getpid(), 9)", WRITE))
    found.run_all()
    assert names(found.done) == ["a"]
    twice = grid(job(tmp_path, "b", "import os; os.kill(os.getpid(), 9)"))
    twice.run_all()
    assert twice.failed[0].reason == "killed by signal 9"


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(99)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_an_interrupted_grid_ends_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """It tells each to end, waits until they have, kills one that does not, and is told in one line."""
    monkeypatch.setattr(launcher, "GRACE", 0.5)
    previous = signal.signal(number, signal.SIG_DFL)  # or a shell's background ignores Ctrl-C
    cells = [job(tmp_path, "a", "print('on', flush=True); import time; time.sleep(99)"), job(tmp_path, "b", STUBBORN)]
    found = grid(*cells)

    def interrupt() -> None:
        while not all(cell.process is not None and cell.last_line() == "on" for cell in cells):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        found.run_all()
    assert ended.value.code == 128 + number
    statuses = [cell.process.returncode for cell in cells if cell.process is not None]
    assert statuses == [-signal.SIGTERM, -signal.SIGKILL]
    assert capsys.readouterr().err.count("\n") == 1
    signal.signal(number, previous)


def test_a_failure_of_a_grid_before_counts(tmp_path: Path) -> None:
    """A cell whose second failure this is has failed, and nothing says that it is tried again."""
    notes = (
        "from pathlib import Path; from hycam_exp.records.store import Store\n"
        "Store(Path('%(folder)s/results/runs'), Path('%(folder)s/outputs')).add_failure('a', ValueError('no luck'))\n"
    )
    cell = job(tmp_path, "a", notes + FAIL)
    cell.store.add_failure("a", ValueError("none before"))
    console = Console(width=200, file=io.StringIO())
    found = replace(grid(cell), console=console)
    found.run_all()
    assert [(j.run_id, j.attempts, j.reason) for j in found.failed] == [("a", 1, "no luck")]
    assert isinstance(console.file, io.StringIO)
    assert "tried again" not in console.file.getvalue()
    assert "[1/1] a: failed: no luck" in console.file.getvalue()


def test_an_attempts_reason_is_its_own(tmp_path: Path) -> None:
    """What an attempt before has printed into the same log is not why this one ended."""
    found = grid(job(tmp_path, "a", FAIL, "import sys; sys.exit(3)"))
    found.run_all()
    (cell,) = found.failed
    assert cell.reason == f"exit status 3, see {cell.log}"
    assert "no luck" in cell.log.read_text()
    cell.begin()
    assert cell.last_line() == "starting"


def test_the_launchers_own_start_begins_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lay in the log before a start is not its error."""
    cell = LocalJob([], job(tmp_path, "a").run, "a")
    cell.log.parent.mkdir(parents=True)
    cell.log.write_text("error: of yesterday\n")
    monkeypatch.setattr(LocalJob, "command", [sys.executable, "-c", "raise SystemExit(3)"])
    cell.start({})
    assert cell.process is not None
    assert cell.explain(cell.process.wait()) == f"exit status 3, see {cell.log}"


def test_a_cell_that_failed_before_is_reported_unless_asked_for(tmp_path: Path) -> None:
    """After two recorded failures a cell is not run; retry=true runs it."""
    first = job(tmp_path, "a", WRITE)
    for _ in range(2):
        first.store.add_failure("a", ValueError("no luck at all"))
    found = grid(first)
    found.run_all()
    assert [(j.run_id, j.reason, j.attempts) for j in found.failed] == [("a", "no luck at all", 0)]
    again = grid(job(tmp_path, "a", WRITE, retry="true"))
    again.run_all()
    assert names(again.done) == ["a"]


def test_overwrite_runs_a_finished_cell_again(tmp_path: Path) -> None:
    """It is done once more, and an attempt that fails, or ends with status 0 before its record, as one that a signal
    ended may, is not taken for the old record's success."""
    grid(job(tmp_path, "a", WRITE)).run_all()
    again = grid(job(tmp_path, "a", WRITE, overwrite="true"))
    again.run_all()
    assert names(again.done) == ["a"]
    for script, reason in ((FAIL, "no luck"), ("", "it ended without a record, see ")):
        failing = grid(job(tmp_path, "a", script, overwrite="true"))
        failing.run_all()
        assert names(failing.failed) == ["a"]
        assert str(failing.failed[0].reason).startswith(reason)


def test_a_cell_is_done_when_its_record_is_there(tmp_path: Path) -> None:
    """The record is the last word: a status, of a process that was killed after it, say, changes nothing."""
    found = grid(job(tmp_path, "a", WRITE + "import os; os.kill(os.getpid(), 9)"))
    found.run_all()
    assert (names(found.done), found.failed) == (["a"], [])


def test_at_most_so_many_cells_run_at_once(tmp_path: Path) -> None:
    """Each cell counts the others' marks while it runs: never more than n_jobs."""
    count = (
        "import os, time, pathlib; p = pathlib.Path('%(folder)s/marks'); p.mkdir(exist_ok=True);"
        "m = p / '%(run_id)s'; m.touch(); time.sleep(0.15); n = len(list(p.iterdir())); m.unlink();"
        "assert n <= 2, n\n" + WRITE
    )
    found = grid(*(job(tmp_path, f"cell{i}", count) for i in range(5)))
    found.run_all()
    assert (len(found.done), found.failed) == (5, [])


def test_a_cell_that_another_grid_runs_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the lock is held nothing is started; when the other has written the record, the cell is skipped."""
    mine = job(tmp_path, "a", FAIL)
    lock = mine.store.folder("a") / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        looks = []

        def sleep(seconds: float) -> None:
            looks.append(mine.attempts)
            if len(looks) == 3:
                subprocess.run([sys.executable, "-c", WRITE % {"folder": tmp_path, "run_id": "a"}], check=True)
                fcntl.flock(stream, fcntl.LOCK_UN)

        monkeypatch.setattr(launcher.time, "sleep", sleep)
        found = grid(mine)
        found.run_all()
    assert len(looks) >= 3
    assert set(looks) == {0}
    assert names(found.skipped) == ["a"]


def test_cells_take_gpus_in_turn_and_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ids given each slot sees its own; threads are the cores divided by n_jobs unless they are given."""
    monkeypatch.setattr(launcher, "usable_cores", lambda: 8)
    found = launcher.LocalLauncher(n_jobs=2, threads=None, gpus=[3, 5])._environments()
    assert found == [{"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": id} for id in ("3", "5")]
    assert launcher.LocalLauncher(n_jobs=1, threads=None, gpus=None)._environments() == [{}]
    assert launcher.LocalLauncher(n_jobs=1, threads=3, gpus=None)._environments() == [{"OMP_NUM_THREADS": "3"}]


def command(*overrides: str, cwd: Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hycam_exp", *overrides], cwd=cwd, capture_output=True, text=True, timeout=seconds
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.tau=0.5,-1", "error: method.tau=-1.0: must be above 0"),
        ("hydra.launcher.n_jobs=0", "error: hydra.launcher.n_jobs=0: must be a whole number, at least 1"),
        (
            "hydra.launcher.gpus=1",
            "error: hydra.launcher.gpus=1: must be a list of ids, as [0,1] or [GPU-...], or null",
        ),
        ("data.root=/nowhere", "error: data.root=/nowhere"),
    ],
)
def test_a_mistake_in_one_cell_is_told_before_any_starts(tmp_path: Path, override: str, message: str) -> None:
    """One line, exit status 1, and no folder of any cell."""
    done = command("-m", "fold=0,1", override, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("outputs/*f0*"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_jobs": "two"}, "n_jobs=two: must be a whole number, at least 1"),
        ({"n_jobs": True}, "n_jobs=True: must be a whole number, at least 1"),
        ({"threads": "x"}, "threads=x: must be a whole number, at least 1"),
        ({"threads": 0}, "threads=0: must be a whole number, at least 1"),
        ({"gpus": 0}, "gpus=0: must be a list of ids"),
        ({"gpus": "all"}, "gpus=all: must be a list of ids"),
        ({"gpus": []}, "gpus=[]: must be a list of ids"),
        ({"gpus": [0, -1]}, "gpus=[0, -1]: must be a list of ids"),
        ({"gpus": [0, "one"]}, "gpus=[0, 'one']: must be a list of ids"),
        ({"gpus": ["GPU-"]}, "gpus=['GPU-']: must be a list of ids"),
        ({"gpus": ["GPU-1,GPU-2"]}, "gpus=['GPU-1,GPU-2']: must be a list of ids"),
    ],
)
def test_a_field_of_the_wrong_kind_is_one_line(fields: dict[str, Any], message: str) -> None:
    """Named with its value, before a cell is read."""
    found = launcher.LocalLauncher(**{"n_jobs": 1, "threads": None, "gpus": None, **fields})
    with pytest.raises(SystemExit) as caught:
        found.launch([["fold=0"]], 0)
    assert str(caught.value).startswith(f"error: hydra.launcher.{message}")
    assert "\n" not in str(caught.value)


def test_gpus_may_be_named_as_cuda_names_them(tmp_path: Path) -> None:
    """A GPU's UUID, a MIG instance's, and its older form with numbers: on the command line, and as a cell sees them."""
    ids = ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-GPU-8932f937-d72c/1/2", "MIG-6e1d", 0]
    (listed,) = OverridesParser.create().parse_overrides([f"hydra.launcher.gpus=[{','.join(map(str, ids))}]"])
    found = launcher.LocalLauncher(n_jobs=1, threads=None, gpus=OmegaConf.create(listed.value()))
    grid = found.grid([["fold=0", f"paths.outputs={tmp_path}", f"paths.results={tmp_path}"]])
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in grid.environments] == [str(id) for id in ids]


def test_gpus_may_be_hydras_own_list(tmp_path: Path) -> None:
    """As the command line gives it."""
    found = launcher.LocalLauncher(n_jobs=1, threads=None, gpus=OmegaConf.create([0, 1]))
    assert len(found.grid([["fold=0", f"paths.outputs={tmp_path}", f"paths.results={tmp_path}"]]).environments) == 2


def test_cells_of_several_nodes_are_refused_before_the_first_starts(tmp_path: Path) -> None:
    """One machine cannot run them; the line names the launcher that can."""
    paths = [f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}"]
    cells = [["fold=0", *paths], ["fold=0", "trainer=ddp", "trainer.num_nodes=2", *paths]]
    with pytest.raises(SystemExit, match=r"error: trainer.num_nodes=2: .*: hydra/launcher=slurm$"):
        launcher.LocalLauncher(n_jobs=1, threads=None, gpus=None).launch(cells, 0)
    assert not list(tmp_path.rglob("output.log"))


def test_a_record_that_breaks_while_the_grid_runs_is_a_failure(tmp_path: Path) -> None:
    """Its reason names the file, and the other cells are done."""
    breaks = WRITE + "\nnext(Path('%(folder)s').glob('results/runs/a.json')).write_text('{')\n"
    found = grid(job(tmp_path, "a", breaks), job(tmp_path, "b", WRITE))
    found.run_all()
    assert (names(found.done), names(found.failed)) == (["b"], ["a"])
    assert "a.json: not a whole run record" in str(found.failed[0].reason)


def test_a_clock_that_jumps_changes_no_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds and what is left are measured by the monotonic clock: neither is negative, or years."""
    wall = itertools.cycle([4e9, 0.0, 1e9])
    monkeypatch.setattr(launcher.time, "time", lambda: next(wall))
    console = Console(width=200, file=io.StringIO())
    found = replace(grid(*(job(tmp_path, name, WRITE) for name in "abc"), n_jobs=1), console=console)
    found.run_all()
    assert all(0 < cell.seconds < 60 for cell in found.done)
    assert isinstance(console.file, io.StringIO)
    assert re.findall(r"about (\d+) s left", console.file.getvalue())
