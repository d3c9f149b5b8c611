"""Holding a cell: on this host by a lock of the file system (flock), before other hosts that share it by a lease.

A lease is a file, `lease.1`, `lease.2`, ...; the highest number counts, and the next one is made by a hard link, which
succeeds for one process alone. The holder appends a byte every `BEAT` seconds and empties the file when it is through.
A lease is stale when its file has stayed the same for `STALE` seconds of the observer's own clock: no two hosts' clocks
are compared. Standard library only.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from hycam_exp.runtime.command_line import as_errors

BEAT, STALE = 10.0, 120.0  # seconds
LOOK = 0.5  # seconds between two looks at a lease that is not decided
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # of a file system without hard links
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """The process that a lease belongs to."""

    process: int
    host: str
    kernel: str
    """Id of the running kernel, within which a lock of the file system (flock) decides."""
    job: str | None
    """SLURM's."""
    restarts: int
    """How often SLURM has started the job again."""

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        host = socket.gethostname()
        kernel = _BOOT.read_text().strip() if _BOOT.is_file() else host
        job, restarts = os.environ.get("SLURM_JOB_ID"), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        return cls(os.getpid(), host, kernel, job, restarts)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" + (f" (SLURM job {self.job})" if self.job else "")

    def has_ended_for(self, other: "Holder") -> bool:
        """Whether another process that has the cell's flock knows at once that this one has ended: both are of the same
        kernel, or this is an earlier start of the same job."""
        requeued = self.job is not None and self.job == other.job and self.restarts < other.restarts
        return self.kernel == other.kernel or requeued


@dataclass(frozen=True)
class Unknown:
    """Whoever a lease belongs to that cannot be read; only its beat tells whether they live."""

    path: Path

    def __str__(self) -> str:
        return f"a process that the damaged {self.path} does not name"

    def has_ended_for(self, other: Holder) -> bool:
        """Never known without waiting."""
        return False


@dataclass(frozen=True)
class Sight:
    """What one look at a cell's folder finds."""

    number: int
    """Of the lease that counts; 0 if there has been none."""
    holder: Holder | Unknown | None
    """None: nobody holds the cell."""
    beating: bool
    """The holder has been seen alive."""


@dataclass
class _Watched:
    content: bytes
    looked: float
    unchanged: float = 0.0
    beating: bool = False


@dataclass
class Observer:
    """Judges leases by what it has seen of them itself."""

    here: Holder = field(default_factory=Holder.here)
    clock: Callable[[], float] = time.monotonic
    watched: dict[Path, _Watched] = field(default_factory=dict)

    def look(self, folder: Path) -> Sight:
        """Who holds the cell now, for one who has its flock; until a lease is known to be stale, its holder."""
        number = highest(folder)
        path = _path(folder, number)
        try:
            with os.fdopen(_descriptor(path, os.O_RDONLY), "rb") as stream:
                content = stream.read()
        except FileNotFoundError:  # none yet, or just replaced: the next number then is taken
            return Sight(number, None, False)
        holder = _holder(path, content)
        if holder is None or holder.has_ended_for(self.here):
            return Sight(number, None, False)
        watched = self._watch(path, content)
        return Sight(number, holder if watched.unchanged < STALE else None, watched.beating)

    def _watch(self, path: Path, content: bytes) -> _Watched:
        now = self.clock()
        watched = self.watched.get(path)
        if watched is None or watched.content != content:
            watched = self.watched[path] = _Watched(content, now, beating=watched is not None)
        # Longer gaps count for one beat: after a standstill of everything the holder's beat may be on its way.
        watched.unchanged += min(max(now - watched.looked, 0.0), BEAT)
        watched.looked = now
        return watched


@dataclass
class Lease:
    """A lease that this process has taken."""

    folder: Path
    number: int
    clock: Callable[[], float] = time.monotonic
    beaten: float = field(init=False)

    def __post_init__(self) -> None:
        self.beaten = self.clock()

    def beat(self) -> bool:
        """Say that the holder lives; false if the lease is lost: another has the next one, or nothing was written for
        so long that another may."""
        try:
            ours = highest(self.folder) == self.number
            if ours:
                _append(_path(self.folder, self.number), b".")
        except FileNotFoundError:
            return False
        except OSError:  # a full or slow disk
            return self.clock() - self.beaten < STALE - BEAT
        self.beaten = self.clock()
        return ours

    def release(self) -> None:
        """Give the cell back. The file stays, empty: its number may not be given again."""
        try:
            os.truncate(_path(self.folder, self.number), 0)
        except FileNotFoundError:  # another has taken it over
            return


def highest(folder: Path) -> int:
    """The number of the lease that counts; 0 if there is none."""
    return max((int(path.suffix[1:]) for path in folder.glob("lease.*") if path.suffix[1:].isdigit()), default=0)


def take(folder: Path, sight: Sight, holder: Holder) -> Lease | None:
    """The lease after the one that was seen to be free; None if another process was faster.

    Raises:
        OSError: the file system has no hard links, or cannot be written.
    """
    number = sight.number + 1
    path, whole = _path(folder, number), folder / f".lease.{uuid.uuid4().hex}"
    content = json.dumps({**asdict(holder), "id": whole.name}).encode() + b"\n"
    try:
        with whole.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # or a crash could leave the name without the content
        os.link(whole, path)
    except FileExistsError:
        if not path.read_bytes().startswith(content):  # else it is ours: the answer of a network file system got lost
            return None
    finally:
        whole.unlink(missing_ok=True)
    if highest(folder) != number:  # a number that had been given before
        path.unlink(missing_ok=True)
        return None
    for older in folder.glob("lease.*"):
        if older.suffix[1:].isdigit() and int(older.suffix[1:]) < number:
            older.unlink(missing_ok=True)
    return Lease(folder, number)


def is_held(folder: Path, observer: Observer) -> bool | None:
    """Whether a process holds the cell of a folder, here or on another host; None while that is not known: of another
    host's lease the observer must see a beat, or see it stand still for long enough."""
    path = folder / "lock"
    if not path.is_file():
        return False
    with _opened(path) as stream:
        if not _flocked(stream):
            return True
        sight = observer.look(folder)
        return False if sight.holder is None else sight.beating or None


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold the cell of a folder; waits until a lease of another host is seen to beat, or to be stale.

    Raises:
        ValueError: another process, here or there, holds it; says which. Or the folder cannot be locked.
    """
    path = folder / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as stream:
        if not _flocked(stream, patience=0.5):  # who only asks whether it is locked, holds it for a moment
            stream.seek(0)
            raise ValueError(f"{name} is being run by {stream.read().strip() or 'another process'}")
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        lease = _taken(folder, name)
        with nullcontext() if lease is None else _kept(lease, name):
            yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold a lock of the file system, waiting for whoever has it to give it back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as stream:
        while not _flocked(stream, patience=STALE):
            pass
        yield


def _opened(path: Path) -> IO[str]:
    """A lock to be read and appended to, made where there is none."""
    return os.fdopen(_descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+")


def _descriptor(path: Path, flags: int) -> int:
    """An open file, never what a symbolic link points to.

    Raises:
        ValueError: it is a symbolic link.
        OSError: it cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"paths.outputs: {path} is a symbolic link, which is not followed: remove it") from error
        raise


def _flocked(stream: IO[str], patience: float = 0.0) -> bool:
    """Lock the open file for this process; false if another process has it, for `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        except OSError as error:
            raise ValueError(f"paths.outputs: {stream.name} cannot be locked: {error.strerror}") from error


@contextmanager
def _kept(lease: Lease, name: str) -> Iterator[None]:
    """Beat while the cell is run, and give the lease back at its end."""
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, name, ended), name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        lease.release()


def _taken(folder: Path, name: str) -> Lease | None:
    """The lease; None where the file system has no hard links, so that the flock must do."""
    observer, told = Observer(), False
    while True:
        sight = observer.look(folder)
        if sight.holder is None:
            try:
                lease = take(folder, sight, observer.here)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    return None
                raise
            if lease is not None:
                return lease
        elif sight.beating:
            raise ValueError(f"{name} is being run by {sight.holder}")
        elif not told:
            print(f"{name}: looking for up to {STALE:.0f} s whether {sight.holder} still runs it", file=sys.stderr)
            told = True
        time.sleep(LOOK)


def _keep(lease: Lease, name: str, ended: threading.Event) -> None:
    """Beat until the cell has ended. A process that has lost its lease ends at once, as by SIGKILL."""
    while not ended.wait(BEAT):
        if not lease.beat():
            lost = f"{name}: the lease is lost: this process stood still, or cannot write"
            print(as_errors(lost), file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)


def _path(folder: Path, number: int) -> Path:
    return folder / f"lease.{number}"


def _holder(path: Path, content: bytes) -> Holder | Unknown | None:
    """Who is named in a lease; None in an empty one."""
    if not content:
        return None
    try:
        fields = json.loads(content.split(b"\n", 1)[0])
        del fields["id"]
        holder = Holder(**fields)
    except (ValueError, KeyError, TypeError):
        return Unknown(path)
    return holder if isinstance(holder.restarts, int) else Unknown(path)


def _append(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)  # never made anew
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
