"""Signals: when they end what is inside, with which status, and what is told."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hycam_exp.runtime.interruption import ENDING, Interrupted, ended_by_signals, limited, postponed, received


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """A shell's background ignores Ctrl-C."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


def send(*numbers: int) -> list[int | None]:
    """Signal this process; what is noted after each."""
    noted = []
    for number in numbers:
        os.kill(os.getpid(), number)
        noted.append(received())
    return noted


@pytest.fixture(autouse=True)
def nothing_is_ignored() -> Iterator[None]:
    """The tests may themselves run under nohup, which ignores SIGHUP."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR2, 140)]
)
def test_a_signal_ends_a_command_with_one_line(capsys, number, status):
    """The status is a shell's of that signal, and the handlers from before are there again."""
    before = handlers()
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        send(number)
    assert ended.value.code == status
    told = capsys.readouterr().err
    assert told == f"error: interrupted ({number.name}); the same command goes on from what is finished\n"
    assert handlers() == before


def test_what_is_interrupted_is_no_failure():
    """`except Exception`, by which failures are counted, does not see it."""
    assert not issubclass(Interrupted, Exception)


def test_what_a_caller_ignores_stays_ignored(monkeypatch):
    """As `nohup` has it."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_postponed_signal_waits_for_the_end():
    """What is inside learns of it and is done first; then it is interrupted."""
    done: list[int | None] = []
    with pytest.raises(SystemExit) as ended, ended_by_signals(), postponed():
        done += send(signal.SIGTERM, signal.SIGTERM)
    assert (done, ended.value.code, received()) == ([signal.SIGTERM] * 2, 143, None)


def test_a_second_ctrl_c_does_not_wait():
    """It ends what is inside at once; that of a launcher, which follows a terminal's own, does not."""
    with pytest.raises(SystemExit) as ended, ended_by_signals(), postponed():
        send(signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
    assert ended.value.code == 143
    with pytest.raises(SystemExit) as ended, ended_by_signals(), postponed():
        pytest.fail(f"after {send(signal.SIGINT, signal.SIGINT)}")
    assert ended.value.code == 130


def test_a_rank_waits_though_it_hears_a_signal_twice(monkeypatch):
    """A terminal's Ctrl-C reaches it by itself and once more by its agent."""
    monkeypatch.setenv("RANK", "0")
    done: list[int | None] = []
    with pytest.raises(SystemExit), ended_by_signals(), postponed():
        done += send(signal.SIGINT, signal.SIGINT)
    assert done == [signal.SIGINT] * 2


def test_tidying_up_is_not_cut_short():
    """A SIGTERM after the signal that ends a command is not heard."""
    code = """
import os, signal
from hycam_exp.runtime.interruption import ended_by_signals
with ended_by_signals():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("tidy")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (130, "tidy\n", 1)


def test_an_exit_of_ones_own_stays_one():
    """Without a signal a postponed SystemExit is passed on."""
    with pytest.raises(SystemExit, match="7"), ended_by_signals(), postponed():
        sys.exit(7)


def test_what_takes_too_long_is_named():
    """Inside the limit is interrupted; what ends in time is not, and a timer from outside runs on."""
    outer = signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with (
            pytest.raises(ValueError, match=r"^the pattern has not ended after 0\.05 s$"),
            limited(0.05, "the pattern"),
        ):
            re.fullmatch("(a+)+b", "a" * 40)
        with limited(5, "the pattern"):
            assert 1 < signal.getitimer(signal.ITIMER_REAL)[0] <= 5
        assert 5 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
