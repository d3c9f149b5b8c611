"""Signals that end a command, at once or after the optimiser step that is made: Ctrl-C, SIGTERM, SIGHUP, SIGUSR2.

    error: interrupted (SIGTERM); the same command goes on from what is finished

A command ends with this one line and the status that a shell gives it: 130 after Ctrl-C, 143 after SIGTERM.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hycam_exp.runtime.command_line import MARK

SIGNALLED = 128  # plus the signal's number: a shell's status of a process that a signal ended
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class Interrupted(BaseException):
    """A signal has told the process to end. No `Exception`: what fails is counted, what is interrupted is not."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted ({signal.Signals(number).name}); the same command goes on from what is finished")
        self.status = SIGNALLED + number


_listens = False
_waits = False
_received: int | None = None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A command inside that is interrupted ends with one line. What the caller ignores, as nohup does, stays so."""
    global _listens
    previous = {number: signal.getsignal(number) for number in ENDING}
    heard = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    _listens = True
    for number in heard:
        signal.signal(number, _handle)
    try:
        yield
    except Interrupted as interruption:
        print(f"{MARK}{interruption}", file=sys.stderr, flush=True)
        sys.exit(interruption.status)
    finally:
        _listens = False
        for number in heard:
            signal.signal(number, previous[number])


@contextmanager
def postponed() -> Iterator[None]:
    """Inside, a signal is only noted: `received` tells of it, and what is inside ends by itself, or is interrupted
    when it is done. A second Ctrl-C ends it at once, but not a rank, which hears each signal twice.
    """
    global _waits, _received
    _waits, _received = True, None
    try:
        yield
    except SystemExit:  # Lightning's, which has handlers of its own until training starts
        if _received is None:
            raise
    finally:
        _waits = False
    if _received is not None:
        raise Interrupted(_received)


def received() -> int | None:
    """The signal that waits for the end of a step; None: there is none."""
    return _received if _waits else None


def listen_again() -> None:
    """Take the signals back from a library that has put its own handlers in front."""
    for number in ENDING if _listens else ():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def limited(seconds: float, what: str) -> Iterator[None]:
    """What is inside must end in time, in a process's main thread: elsewhere no signal can end it.

    Raises:
        ValueError: it has not; `what` names it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise ValueError(f"{what} has not ended after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, end)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, previous)


def _handle(number: int, frame: Any) -> None:
    global _received
    insists = number == signal.SIGINT == _received and "RANK" not in os.environ
    if _waits and not insists:
        _received = number
        return
    # What a launcher sends to all its cells follows the terminal's own; it must not cut short what is being tidied up.
    for other in ENDING:
        signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
    raise Interrupted(number)
