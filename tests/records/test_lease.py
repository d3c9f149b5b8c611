"""Leases: one holder at a time on any number of hosts, by clocks that are never compared."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.records import lease
from hycam_exp.records.lease import BEAT, STALE, Holder, Lease, Observer, highest, take
from hycam_exp.records.store import Store

FAR = Holder(process=1, host="far", kernel="another", job=None, restarts=0)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def observer(name: str, **changes: object) -> tuple[Observer, Clock]:
    """One on a host of its own, and its clock."""
    clock = Clock()
    here = replace(Holder(7, name, name, None, 0), **changes)  # type: ignore[arg-type]
    return Observer(here, clock), clock


def taken(folder: Path, holder: Holder = FAR) -> Lease:
    found = take(folder, Observer(holder).look(folder), holder)
    assert found is not None
    return found


def stand_still(watcher: Observer, clock: Clock, folder: Path, seconds: float) -> lease.Sight:
    """Look twice a second for so long."""
    for _ in range(int(2 * seconds)):
        clock.now += 0.5
        watcher.look(folder)
    return watcher.look(folder)


def test_a_lease_is_held_until_it_is_released_and_its_number_never_comes_again(tmp_path: Path) -> None:
    """Taken, seen from elsewhere with its holder, released, taken by the next under the next number; one file stays."""
    first = taken(tmp_path)
    near, _ = observer("near")
    assert near.look(tmp_path) == lease.Sight(1, FAR, False)
    first.release()
    assert near.look(tmp_path) == lease.Sight(1, None, False)
    assert taken(tmp_path, near.here).number == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lease.2"]


def test_stale_is_what_stood_still_for_so_long_by_the_observers_own_clock(tmp_path: Path) -> None:
    """One beat starts the count again; without one the lease is free after `STALE` seconds and not before."""
    held = taken(tmp_path)
    watcher, clock = observer("near")
    watcher.look(tmp_path)
    assert stand_still(watcher, clock, tmp_path, STALE - 1).holder == FAR
    assert held.beat()
    assert watcher.look(tmp_path) == lease.Sight(1, FAR, True)
    assert stand_still(watcher, clock, tmp_path, STALE - 1).holder == FAR
    assert stand_still(watcher, clock, tmp_path, 1).holder is None


@pytest.mark.parametrize("mtime", [0, 10**9, 2 * 10**9])
def test_the_files_times_decide_nothing(tmp_path: Path, mtime: int) -> None:
    """A host whose clock is years off, either way, holds its lease like any other."""
    held = taken(tmp_path)
    watcher, clock = observer("near")
    for _ in range(30):
        os.utime(tmp_path / "lease.1", (mtime, mtime))
        assert watcher.look(tmp_path).holder == FAR
        clock.now += BEAT
        assert held.beat()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=int(STALE / BEAT) - 1))
def test_a_clock_that_jumps_makes_no_living_lease_stale(jumps: list[float]) -> None:
    """However far it jumps, back or forth, one gap between looks counts for a beat at most, and never negatively."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken(folder)
        watcher, clock = observer("near")
        watcher.look(folder)
        for jump in jumps:
            clock.now += jump
            assert watcher.look(folder).holder == FAR
        assert stand_still(watcher, clock, folder, STALE).holder is None


def test_of_two_that_find_it_stale_one_takes_it(tmp_path: Path) -> None:
    """Both have seen the same stale lease; the second is refused, and then sees the first's."""
    taken(tmp_path)
    (one, clock_one), (two, clock_two) = observer("one"), observer("two")
    sights = [stand_still(one, clock_one, tmp_path, STALE + 1), stand_still(two, clock_two, tmp_path, STALE + 1)]
    assert [sight.holder for sight in sights] == [None, None]
    assert take(tmp_path, sights[0], one.here) is not None
    assert take(tmp_path, sights[1], two.here) is None
    assert two.look(tmp_path).holder == one.here


def test_what_was_seen_long_ago_takes_nothing(tmp_path: Path) -> None:
    """An observer that comes back after its number was given, released and removed is refused, and leaves nothing."""
    slow = Observer(FAR).look(tmp_path)
    for _ in range(3):
        taken(tmp_path).release()
    assert taken(tmp_path).number == 4
    assert take(tmp_path, slow, FAR) is None
    assert [path.name for path in tmp_path.iterdir()] == ["lease.4"]


def test_many_threads_race_for_a_stale_lease(tmp_path: Path) -> None:
    """Of sixteen that start together on one sight, exactly one holds it; again and again."""
    for _ in range(20):
        sight = Observer(replace(FAR, kernel="k")).look(tmp_path)
        gate, won = threading.Barrier(16), []

        def race(sight: lease.Sight = sight, gate: threading.Barrier = gate, won: list[Lease] = won) -> None:
            gate.wait()
            if (found := take(tmp_path, sight, FAR)) is not None:
                won.append(found)

        threads = [threading.Thread(target=race) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release()


@dataclass
class Host:
    """One that runs the cell whenever it may, and looks or beats when its turn comes."""

    watcher: Observer
    clock: Clock
    held: Lease | None = None
    alive: bool = True
    late: float = field(default=0.0)
    """Seconds since its last beat."""


STEP = st.tuples(st.integers(0, 2), st.sampled_from(["turn", "turn", "turn", "die", "end"]), st.floats(-1e6, 1e6))


@given(st.lists(STEP, max_size=80))
def test_never_two_holders(steps: list[tuple[int, str, float]]) -> None:
    """Three hosts with jumping clocks take, beat, end and die in any order: at most one lives and holds; and when all
    stand still, the first that looks on gets it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = [Host(*observer(f"h{i}")) for i in range(3)]
        for which, what, jump in steps:
            host = hosts[which]
            host.clock.now += jump
            for other in hosts:  # time passes for all; who lives and holds beats in time
                if other.held is not None and other.alive:
                    assert other.held.beat()
            if what == "turn" and host.held is None and host.alive:
                sight = host.watcher.look(folder)
                host.held = take(folder, sight, host.watcher.here) if sight.holder is None else None
            elif what == "end" and host.held is not None and host.alive:
                host.held.release()
                host.held = None
            elif what == "die":  # its machine is gone; another takes its name
                hosts[which] = Host(*observer(f"h{which}-{jump}"))
            assert sum(h.held is not None for h in hosts) <= 1
        for host in hosts:
            host.held = None
        last, clock = observer("last")
        last.look(folder)
        assert take(folder, stand_still(last, clock, folder, STALE + 1), last.here) is not None


def test_one_who_stood_still_learns_that_the_lease_is_lost(tmp_path: Path) -> None:
    """After a takeover the former holder's beat says no, and its release leaves the new holder alone."""
    former = taken(tmp_path)
    watcher, clock = observer("near")
    watcher.look(tmp_path)
    assert take(tmp_path, stand_still(watcher, clock, tmp_path, STALE + 1), watcher.here) is not None
    assert not former.beat()
    former.release()
    assert Observer(FAR).look(tmp_path).holder == watcher.here


def test_a_beat_that_cannot_be_written_is_borne_until_another_may_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the holder goes on, and gives up a beat before its lease is stale for others."""
    clock = Clock()
    held = replace(taken(tmp_path), clock=clock)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lease, "_append", full)
    clock.now = STALE - BEAT - 1
    assert held.beat()
    clock.now = STALE - BEAT
    assert not held.beat()


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"kernel": "another"}, True),  # flock has decided
        ({"job": "5", "restarts": 1}, True),  # SLURM started the same job again
        ({"job": "5", "restarts": 0}, False),  # another node of the same job
        ({"job": "6", "restarts": 1}, False),
        ({}, False),
    ],
)
def test_who_need_not_wait(tmp_path: Path, changes: dict[str, object], free: bool) -> None:
    """A holder within the same kernel, and an earlier start of the same SLURM job, are known to have ended."""
    taken(tmp_path, replace(FAR, job="5"))
    watcher, _ = observer("near", **changes)
    assert (watcher.look(tmp_path).holder is None) is free


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", tmp_path / "outputs")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    for name, seconds in (("BEAT", 0.05), ("STALE", 0.6), ("LOOK", 0.01)):
        monkeypatch.setattr(lease, name, seconds)


@pytest.mark.parametrize("name", ["lock", "lease.1"])
def test_a_symbolic_link_is_not_followed(store: Store, quick: None, name: str) -> None:
    """What another user has laid in place of a lock or a lease is named, and what it points to stays as it is."""
    target, folder = store.outputs / "target", store.folder("cell")
    folder.mkdir(parents=True)
    target.write_text("precious")
    (folder / "lock").touch()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    message = rf"^paths\.outputs: {folder / name} is a symbolic link, which is not followed: remove it$"
    with pytest.raises(ValueError, match=message), store.lock("cell"):
        pytest.fail("the link was followed")
    with pytest.raises(ValueError, match=message):
        store.is_locked("cell")
    assert target.read_text() == "precious"


def test_a_cell_beats_while_it_is_held(store: Store, quick: None) -> None:
    """The file grows by itself, the store of another host sees the holder, and afterwards the cell is free."""
    path = store.folder("cell") / "lease.1"
    with store.lock("cell"):
        before = path.stat().st_size
        while path.stat().st_size < before + 3:
            threading.Event().wait(0.01)
        elsewhere, _ = observer("elsewhere")
        found = elsewhere.look(path.parent).holder
        assert found is not None
        assert found.process == os.getpid()
    assert path.read_bytes() == b""
    assert store.is_locked("cell") is False


def test_a_cell_of_a_living_process_on_another_host_is_refused(store: Store, quick: None) -> None:
    """The error names process, host and SLURM job, as soon as a beat is seen."""
    folder = store.folder("cell")
    folder.mkdir(parents=True)
    held = taken(folder, replace(FAR, job="42"))
    ended = threading.Event()
    keeper = threading.Thread(target=lease._keep, args=(held, "cell", ended))
    keeper.start()
    try:
        (folder / "lock").touch()
        assert store.is_locked("cell") is None
        message = r"^cell is being run by process 1 on far \(SLURM job 42\)$"
        with pytest.raises(ValueError, match=message), store.lock("cell"):
            pytest.fail("two hosts hold one cell")
        assert store.is_locked("cell") is True
    finally:
        ended.set()
        keeper.join()


def test_a_cell_of_a_dead_process_on_another_host_is_taken_over(
    store: Store, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the lease has stood still for long enough it is run; meanwhile one line says what is waited for."""
    folder = store.folder("cell")
    folder.mkdir(parents=True)
    taken(folder)
    with store.lock("cell"):
        assert highest(folder) == 2
    assert capsys.readouterr().err.startswith("cell: looking for up to 1 s whether process 1 on far still runs it")


@pytest.mark.parametrize(
    "damaged",
    [b"\0\0\0", b'{"process": 1, "ho', b"[]\n", b'{"id": "x", "pid": 1}\n', b'{"process": 1}\n',
     b'{"id": "x", "process": 1, "host": "far", "kernel": "k", "job": null, "restarts": "none"}\n'],
)  # fmt: skip
def test_a_damaged_lease_is_of_an_unknown_holder(
    store: Store, quick: None, damaged: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it grows its cell is refused, by the file's name; when it has stood still for long enough it is taken."""
    folder = store.folder("cell")
    folder.mkdir(parents=True)
    path = folder / "lease.1"
    path.write_bytes(damaged)
    watcher, _ = observer("near")
    assert watcher.look(folder) == lease.Sight(1, lease.Unknown(path), False)
    Lease(folder, 1).beat()
    assert watcher.look(folder) == lease.Sight(1, lease.Unknown(path), True)
    with store.lock("cell"):
        assert highest(folder) == 2
    expected = f"cell: looking for up to 1 s whether a process that the damaged {path} does not name still runs it"
    assert capsys.readouterr().err.startswith(expected)


def test_a_lease_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a crash could leave an empty one, which says that nobody holds the cell."""
    calls, synced, linked = [], os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), synced(descriptor)))
    monkeypatch.setattr(os, "link", lambda *paths: (calls.append("link"), linked(*paths)))
    taken(tmp_path)
    assert calls == ["fsync", "link"]


def test_without_hard_links_flock_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that has none a cell is held on its host alone; another error is not swallowed."""

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", refuse)
    error = errno.EPERM
    with store.lock("cell"):
        assert [path.name for path in store.folder("cell").iterdir()] == ["lock"]
    error = errno.ENOSPC
    with pytest.raises(OSError, match="No space left"), store.lock("cell"):
        pytest.fail("not held")


LOSES = """
import sys, threading
from pathlib import Path
from hycam_exp.records import lease
from hycam_exp.records.store import Store
lease.BEAT = 0.05
with Store(Path(sys.argv[1]), Path(sys.argv[1])).lock("cell"):
    (Path(sys.argv[1]) / "cell" / "lease.1").rename(Path(sys.argv[1]) / "cell" / "lease.2")
    threading.Event().wait(30)
print("went on")
"""


def test_a_process_that_has_lost_its_cell_stops(tmp_path: Path) -> None:
    """Within a beat, with an error line and exit status 1, and without another word."""
    done = subprocess.run([sys.executable, "-c", LOSES, str(tmp_path)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: cell: the lease is lost: this process stood still, or cannot write\n"
