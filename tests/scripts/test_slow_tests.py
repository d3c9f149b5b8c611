import json
from contextlib import suppress

import psutil
import pytest

from scripts import slow_tests

SLOW = """import pytest, time

@pytest.mark.{mark}
@pytest.mark.parametrize("n", [0, 1, 2])
def test_a(n):
    assert n < {passing}
    time.sleep({seconds})
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with one file of slow tests."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow: long']\naddopts = '-q'\n")
    monkeypatch.setattr(slow_tests, "ROOT", tmp_path)
    monkeypatch.setattr(slow_tests, "RESULTS", tmp_path / "test_slow.json")

    def write(name, passing, seconds=0):
        (tmp_path / "tests" / name).write_text(SLOW.format(mark="slow", passing=passing, seconds=seconds))
        return f"tests/{name}"

    return write


def test_a_files_tests_are_counted(project, capsys):
    """What passed and what failed, the exit status, and the failure's text on the terminal."""
    row = slow_tests.run(project("test_x.py", passing=2))
    assert (row["passed"], row["failed"], row["status"]) == (2, 1, 1)
    assert "assert 2 < 2" in capsys.readouterr().out


def test_a_part_that_hangs_is_a_failure(project, capsys):
    """Past the limit it is stopped and counts as failed."""
    row = slow_tests.run(project("test_x.py", passing=3, seconds=600), limit=3)
    assert (row["failed"], row["status"]) == (1, -1)
    assert "stopped after 3 s" in capsys.readouterr().out


def test_what_a_test_has_started_does_not_outlive_the_limit(project, tmp_path, capsys):
    """Neither a child in the test's own process group nor one in a session of its own."""
    part = project("test_x.py", passing=3, seconds=600)
    start = """import subprocess, sys
for number in (0, 1):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=bool(number))
    open(f"child{number}", "w").write(str(child.pid))
"""
    (tmp_path / part).write_text(start + (tmp_path / part).read_text())
    slow_tests.run(part, limit=3)
    for number in (0, 1):
        with suppress(psutil.NoSuchProcess):  # reaped by whoever took it in
            assert psutil.Process(int((tmp_path / f"child{number}").read_text())).status() == psutil.STATUS_ZOMBIE


def test_results_of_other_parts_stay(project, tmp_path):
    """A file run alone replaces its own line; one that is gone loses it."""
    first, second, gone = project("test_a.py", 3), project("test_b.py", 3), project("test_c.py", 3)
    slow_tests.RESULTS.write_text(json.dumps({"parts": {first: {"status": 1}, second: {"status": 1}, gone: {}}}))
    (tmp_path / gone).unlink()
    assert slow_tests.main([second]) == 0
    parts = json.loads(slow_tests.RESULTS.read_text())["parts"]
    assert list(parts) == [first, second]
    assert (parts[first]["status"], parts[second]["status"], parts[second]["passed"]) == (1, 0, 3)


def test_the_status_is_that_of_the_worst(project):
    """One failure in one file: status 1."""
    project("test_a.py", 3), project("test_b.py", 1)
    assert slow_tests.main([]) == 1


def test_an_unknown_part_is_named(project):
    """It ends with one line that says what there is."""
    project("test_a.py", 3)
    with pytest.raises(SystemExit, match=r"error: tests/x\.py: no file with slow tests; there are tests/test_a\.py"):
        slow_tests.main(["tests/x.py"])
