"""What a test has started is ended with it when it takes too long, known by the environment that it inherited.

A test past pytest-timeout's limit ends its worker; pytest-xdist counts it as failed and goes on in another worker.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil


def started_by(nodeid: str, run: str) -> Iterator[psutil.Process]:
    """The processes that a test of this run of pytest has started, in whatever session or process group they are."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            inherited = process.environ()
            of_run = inherited.get("PYTEST_XDIST_TESTRUNUID") == run
            if of_run and inherited.get("PYTEST_CURRENT_TEST", "").startswith(f"{nodeid} ("):
                yield process


def pytest_handlecrashitem(crashitem: str, report: Any) -> None:
    """End what the test that ended its worker has left; pytest-xdist calls this in the process that has the workers."""
    for process in started_by(crashitem, report.node.workerinput["testrunuid"]):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
