"""A disk that is full says so, with its folder and the way out, and leaves what is finished whole."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hycam_exp.launch.jobs import Grid, GridLauncher
from hycam_exp.records.store import Store
from hycam_exp.runtime.files import disk_error, write_atomically
from tests.launch.test_local import command
from tests.records.test_store import ID, RECORD, files

Disk = Callable[[str, int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a file system of so many KB under a name, or gives it another size."""
    mounted: list[Path] = []

    def mount(name: str, kilobytes: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        options = f"{'remount,' if folder in mounted else ''}size={kilobytes}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("no file system may be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """A file that takes all room but so many bytes."""
    path = folder / "filler"
    with path.open("wb") as stream:
        free = os.statvfs(folder)
        stream.write(bytes(free.f_bavail * free.f_frsize - leave))
    return path


@pytest.mark.parametrize(("held", "name"), [("records", "results"), ("outputs", "outputs")])
def test_a_full_folder_is_named_before_anything_is_computed(tmp_path: Path, disk: Disk, held: str, name: str) -> None:
    """With its setting and the two ways out."""
    folder = disk("small", 64)
    store = Store(**{"records": tmp_path / "a", "outputs": tmp_path / "b", held: folder})
    store.check_writable()
    fill(folder)
    way_out = rf"No space left on device; make room there, or give paths\.{name}=FOLDER$"
    with pytest.raises(ValueError, match=rf"^paths\.{name}: cannot write in {folder}.*: {way_out}"):
        store.check_writable()


def test_a_record_that_finds_no_room_leaves_the_old_one_whole(tmp_path: Path, disk: Disk) -> None:
    """The error names the record's file; the record that was there stays as it was, and nothing lies beside it."""
    store = Store(disk("small", 64) / "runs", tmp_path)
    path = store.write(RECORD)
    before = path.read_bytes()
    filler = fill(store.records.parent)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, before * 100)
    assert caught.value.filename == str(path)
    assert (path.read_bytes(), files(path.parent)) == (before, [path.name])
    filler.unlink()
    assert store.read(ID) == RECORD


@pytest.mark.parametrize("folder", ["/proc/none", "/dev/null/none"])
def test_a_folder_where_nobody_can_write_is_named(tmp_path: Path, folder: str) -> None:
    """Root too is told so in one line."""
    with pytest.raises(ValueError, match=rf"^paths\.results: cannot write in {folder}: .*paths\.results=FOLDER$"):
        Store(Path(folder), tmp_path).check_writable()


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EROFS, "Read-only file system"), errno.EROFS),
        (RuntimeError("I/O error: No space left on device (os error 28)"), errno.ENOSPC),  # as safetensors has it
        (RuntimeError("CUDA out of memory"), None),
        (ValueError("the loss is nan"), None),
    ],
)
def test_the_disks_fault_is_told_from_the_cells(error: Exception, number: int | None) -> None:
    """In whatever form a library passes it on."""
    found = disk_error(error)
    assert (None if found is None else found.errno) == number


def test_what_a_person_is_told(tmp_path: Path) -> None:
    """The cell, the system's word, the file where it is known, the folders and the way out."""
    store = Store(tmp_path / "r", tmp_path / "o")
    for path, where in (("/disk/file", " (/disk/file)"), (None, "")):
        told = str(store.unwritable("cell", OSError(errno.ENOSPC, "No space left on device", path)))
        way_out = (
            f"make room in {tmp_path}/o and {tmp_path}/r, then the same command goes on; what is finished is whole"
        )
        assert told == f"cell: No space left on device{where}; {way_out}"


def test_a_launcher_that_cannot_write_ends_in_one_line() -> None:
    """No traceback, exit status 1."""

    class Full(Grid):
        def run_all(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "/disk/output.log")

    class Launcher(GridLauncher):
        def grid(self, job_overrides: object) -> Full:
            return Full([])

    with pytest.raises(SystemExit, match=r"^error: .*No space left on device: '/disk/output.log': .*same command"):
        Launcher().launch([], 0)


QUICK = (
    "model=tiny_qwen2", "method=lora", "data.max_per_task=10", "data.tasks=[mini_reasoning]", "recipe.epochs=1",
    "recipe.global_batch_size=2", "recipe.max_new_tokens=4", "recipe.compare_single=0",
    "trainer.checkpoint_every_steps=1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kilobytes"), [("results", 12), ("outputs", 64), ("outputs", 250)])
def test_a_cell_on_a_disk_that_fills_up_goes_on_when_there_is_room(
    tmp_path: Path, disk: Disk, name: str, kilobytes: int
) -> None:
    """One line and no record, no failure of the cell's own; with room the same command finishes the cell."""
    folder = disk(name, kilobytes)
    for _ in range(2):
        done = command(*QUICK, cwd=tmp_path, seconds=300)
        assert done.returncode == 1, done.stdout
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.glob("results/runs/*.json"))
        assert not list(tmp_path.glob("outputs/*/failures.jsonl"))
    disk(name, 100_000)
    assert folder.is_dir()
    done = command(*QUICK, cwd=tmp_path, seconds=300)
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob("results/runs/*.json")
    assert Store(tmp_path / "results" / "runs", tmp_path / "outputs").read(record.stem) is not None


def test_what_is_not_the_disks_fault_is_the_cells(tmp_path: Path) -> None:
    """A connection or a file that is missing counts as a failure, and nobody is asked to make room."""
    lost = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    assert disk_error(lost) is None
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "tokenizer.json")) is None
    assert str(Store(tmp_path / "r", tmp_path / "o").unwritable("cell", lost)).endswith("Connection reset by peer")
    closed = PermissionError(errno.EACCES, "Permission denied", "x")
    assert disk_error(closed) is closed
    assert "see that this process can write in" in str(Store(tmp_path / "r", tmp_path / "o").unwritable("cell", closed))
