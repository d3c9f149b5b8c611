"""Cells in processes of their own that are killed at a chosen file-system event, and files with flipped bits.

python -m tests.faults.faulty_cells FOLDER

runs the full counts: a kill at every event, and flips all over every file that an interrupted cell leaves.
"""

import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets  # noqa: F401  # what a cell imports late is here before the forks

from hycam_exp.cell import run_cell
from hycam_exp.config.settings import Run
from hycam_exp.launch.cell_status import store_of
from tests.test_cell import quick

SETTINGS = ("trainer.checkpoint_every_steps=1", "evaluation.generate_before=false", "recipe.epochs=2")
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod")
FLIPS = 24  # of each file, in the full counts


def cell_in(folder: Path) -> Run:
    """The cell, with all that it reads and writes in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return quick(folder, *SETTINGS)


def in_child(action: Callable[[], object], log: Path) -> int:
    """Do something in a fork of this process, which has all libraries loaded; its exit status, -9 after SIGKILL."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    status = 1
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        action()
        status = 0
    except ValueError as error:
        print(f"error: {error}", flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def attempt(folder: Path, kill_at: int | None = None) -> int:
    """Run the cell in a child process, killed just before its `kill_at`-th file-system event; its exit status."""
    events = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        beats = event == "open" and "/lease." in str(arguments[0])  # by the clock, not by what the cell does
        if (writes or event in EVENTS) and str(folder) in str(arguments[0]) and not beats:
            events += 1
            if events == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        sys.addaudithook(watch)
        run_cell(cell_in(folder))
        (folder / "events").write_text(str(events))

    return in_child(run, folder.with_suffix(".log"))


def comparable(folder: Path) -> dict[str, Any]:
    """Of the cell's record, what no interruption and no damage may change."""
    run = cell_in(folder)
    (path,) = (folder / "results" / "runs").glob("*.json")
    record = store_of(run).read(path.stem)
    assert record is not None, "its file is there"
    return {key: asdict(record)[key] for key in ("run_id", "scores", "curves", "fit", "counts", "data", "routing")}


def leftovers(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    return [str(path) for path in folder.rglob(".*") if len(path.suffix) == 33]


def spread(count: int, most: int) -> list[int]:
    """So many of the numbers below `count`, from the first to the last; all of them where they are no more."""
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)}) if count > most else [*range(count)]


def killed(folder: Path, expected: dict[str, Any], events: list[int]) -> int:
    """Kill a cell at each of these events, each time a new one, and let the same command end it; how many were."""
    for event in events:
        place = folder / f"killed_{event}"
        place.mkdir(parents=True)
        assert attempt(place, event) == -signal.SIGKILL, place.with_suffix(".log").read_text()
        assert attempt(place) == 0, place.with_suffix(".log").read_text()
        assert comparable(place) == expected, f"killed at event {event}"
        assert leftovers(place) == []
        shutil.rmtree(place)
    return len(events)


def flipped(folder: Path, interrupted: Path, expected: dict[str, Any], most: int) -> Counter[str]:
    """Flip bits of every file that an interrupted cell has left, one at a time, and let the same command end it.

    What became of each: `equal`, the record is that of an undisturbed cell; `refused`, one line names the file.
    """
    found: Counter[str] = Counter()
    for name, place in _bits(interrupted, most):
        copy = folder / "flipped"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(interrupted, copy, symlinks=True)
        content = bytearray((copy / name).read_bytes())
        content[place] ^= 1 << place % 8
        (copy / name).write_bytes(content)
        status, log = attempt(copy), copy.with_suffix(".log").read_text()
        if status == 0:
            assert comparable(copy) == expected, f"{name}, byte {place}: other results"
        else:
            assert any(line.startswith("error: ") and name.name in line for line in log.splitlines()), f"{name}: {log}"
        found["refused" if status else "equal"] += 1
    return found


def _bits(folder: Path, most: int) -> Iterator[tuple[Path, int]]:
    """Files of a cell with places in them; not curves and adapter, which the next attempt writes without reading."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".txt", ".log") and not {"curves", "adapter"} & {*path.parts}:
            for place in spread(path.stat().st_size, most):
                yield path.relative_to(folder), place


def interrupted(folder: Path, events: int) -> Path:
    """The folder of a cell that was killed shortly before its record: with checkpoints, responses and tokens.

    Its place is where the flipped ones lie as well, so that no path in it changes.
    """
    place = folder / "flipped"
    place.mkdir(parents=True)
    for event in range(events - 2, 0, -1):
        shutil.rmtree(place)
        place.mkdir()
        assert attempt(place, event) == -signal.SIGKILL
        if list(place.glob("outputs/*/training/last.ckpt")) and not list(place.glob("results/runs/*")):
            return place.rename(folder / "interrupted")
    raise AssertionError("no event has checkpoints and no record")


def undisturbed(folder: Path) -> tuple[dict[str, Any], int]:
    """What a cell gives that nobody disturbs, and the number of its file-system events."""
    place = folder / "undisturbed"
    place.mkdir(parents=True)
    assert attempt(place) == 0, place.with_suffix(".log").read_text()
    return comparable(place), int((place / "events").read_text())


def main(folder: Path) -> None:
    """The full counts."""
    expected, events = undisturbed(folder)
    print(f"{killed(folder, expected, [*range(1, events + 1)])} kills survived", flush=True)
    found = flipped(folder, interrupted(folder, events), expected, FLIPS)
    print(f"{found.total()} bits flipped: {found['equal']} without an effect, {found['refused']} refused by name")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
