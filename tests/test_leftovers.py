import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from tests.test_house import ROOT

HANGS = """import signal, subprocess, sys, time
import pytest

@pytest.mark.slow
def test_before():
    pass

@pytest.mark.slow
def test_that_hangs():
    for number in (0, 1):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=bool(number))
        open(f"child{number}", "w").write(str(child.pid))
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # as one that waits in C
    time.sleep(600)

@pytest.mark.slow
def test_that_fails():
    assert 1 == 2

def test_of_make_test():
    pass
"""


def make(*words: str, cwd: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`make test-slow` of this checkout."""
    given = [f"{key}={value}" for key, value in variables.items()]
    command = ["make", "--no-print-directory", f"--file={ROOT / 'Makefile'}", "--assume-old=.venv/.ready", *words]
    return subprocess.run([*command, "test-slow", *given], cwd=cwd, capture_output=True, text=True)


def has_ended(pid: int) -> bool:
    """Within ten seconds, reaped by whoever took it in or not: a signal is sent before it is acted upon."""
    latest = time.monotonic() + 10
    while time.monotonic() < latest:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def files(printed: str, among: set[str]) -> set[str]:
    """Those that a command of pytest would collect from."""
    words = [word for word in printed.split() if word.removeprefix("--ignore=").startswith("tests")]
    left_out = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    taken = [word for word in words if not word.startswith("--ignore=")]

    def under(file: str, folders: list[str]) -> bool:
        return any(file == folder or file.startswith(f"{folder}/") for folder in folders)

    return {file for file in among if under(file, taken) and not under(file, left_out)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one file of slow tests and this one's hooks."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(HANGS)
    (tmp_path / "conftest.py").write_text("from tests.leftovers import pytest_handlecrashitem\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow: long']\n")
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    return tmp_path


def test_a_test_that_hangs_holds_up_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where it stands and fails, what it has started is ended, and the others are run and counted."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    done = make(cwd=project, ARGS="-o faulthandler_timeout=1 --timeout=2 -p no:cacheprovider")
    assert done.returncode != 0
    assert "in test_that_hangs" in done.stderr
    cases = ElementTree.parse(project / "outputs" / "test_slow.xml").iter("testcase")
    outcomes = {case.get("name", "").split("::")[-1]: [part.tag for part in case] for case in cases}
    assert outcomes == {"test_before": [], "test_that_hangs": ["error"], "test_that_fails": ["failure"]}
    assert all(has_ended(int((project / f"child{number}").read_text())) for number in (0, 1))


def test_the_parts_are_the_whole() -> None:
    """Every file with slow tests is in one part; a part that does not exist is refused with those that do."""
    slow = {
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if "mark.slow" in path.read_text()
    }
    parts = [files(make("--dry-run", PART=part).stdout, slow) for part in "1234"]
    assert sorted(file for part in parts for file in part) == sorted(slow)
    assert all(parts)
    assert "PART=5: there are 1 2 3 4" in make("--dry-run", PART="5").stderr
