"""What a test has started is ended with it when it takes too long, known by the environment that it inherited.

A test past pytest-timeout's limit ends its worker; pytest-xdist counts it as failed and goes on in another worker.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

RUN, TEST = "PYTEST_XDIST_TESTRUNUID", "PYTEST_CURRENT_TEST"
"""The variables that say of which run and test a process is."""


def started_by(nodeid: str, run: str) -> Iterator[psutil.Process]:
    """The processes that a test of this run of pytest has started, in whatever session or process group they are."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            inherited = process.environ()
            if inherited.get(RUN) == run and inherited.get(TEST, "").startswith(f"{nodeid} ("):
                yield process


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any) -> None:
    """End what the test that ended its worker has left; pytest-xdist calls this in the process that has the workers."""
    for process in started_by(crashitem, report.node.workerinput["testrunuid"]):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
