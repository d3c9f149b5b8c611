"""Files that are whole or not there, and pointers of Git LFS told from the files that they stand for."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from hycam_exp.runtime.files import is_intact, refuse_pointer, seal_of, sealing, write_atomically
from tests.records.test_store import files


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_error_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str, old: bytes | None
) -> None:
    """Neither a part of the file nor a temporary stays, and what was there before is untouched."""
    path = tmp_path / "record.json"
    if old is not None:
        path.write_bytes(old)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == (
        {} if old is None else {path.name: old}
    )


def test_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    """The folder is made, the content is exactly what was given, and no temporary stays."""
    path = tmp_path / "deep" / "er" / "record.json"
    for content in (b"a longer content\r\n", b"", b"short"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert files(path.parent) == ["record.json"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_written_file_has_the_users_permissions(tmp_path: Path, umask: int) -> None:
    """Whom a new file may be read by is the umask's to say: colleagues can read each other's records."""
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "record.json", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_sealed_file_is_intact_whenever_the_process_dies(tmp_path: Path, is_folder: bool) -> None:
    """Before, between and after the steps by which one takes another's place, any number of times over."""
    path, new = tmp_path / "last", tmp_path / "new"

    def write(content: str) -> None:
        if is_folder:
            (new / "deep").mkdir(parents=True)
        (new / "deep" / "file" if is_folder else new).write_text(content)

    def take_its_place() -> None:
        if is_folder and path.exists():
            shutil.rmtree(path)
        new.rename(path)

    def die(after: Callable[[], None]) -> None:
        with suppress(KeyboardInterrupt), sealing(path, new):
            after()
            assert is_intact(path)
            raise KeyboardInterrupt

    write("0")
    with sealing(path, new):
        take_its_place()
    for content in "123":  # each dies before its file is in place
        write(content)
        die(lambda: None)
        assert is_intact(path)
        shutil.rmtree(new) if is_folder else new.unlink()
    write("4")
    die(take_its_place)
    assert is_intact(path)


@pytest.mark.parametrize("change", ["rename", "content", "no seal", "nothing there", "another seal"])
def test_what_is_not_as_written_is_not_intact(tmp_path: Path, change: str) -> None:
    """A flipped bit in a file of a folder, another name, a seal that is gone or another's, or no file at all."""
    path, new = tmp_path / "last", tmp_path / "new"
    new.mkdir()
    (new / "a").write_bytes(b"a")
    with sealing(path, new):
        new.rename(path)
    assert is_intact(path)
    changes = {
        "rename": lambda: (path / "a").rename(path / "b"),
        "content": lambda: (path / "a").write_bytes(b"e"),
        "no seal": lambda: seal_of(path).unlink(),
        "nothing there": lambda: shutil.rmtree(path),
        "another seal": lambda: seal_of(path).write_bytes(b"\xff\n\n" + b"0" * 64),
    }
    changes[change]()
    assert not is_intact(path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize("name", ["model.safetensors", "rows.parquet", "tokenizer.json"])
def test_pointer_is_refused_with_the_way_to_its_file(tmp_path: Path, name: str) -> None:
    """Weights, data and tokenizers alike: the file, what it is, and the command."""
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name}: a Git LFS pointer in place of .*; `git lfs pull` in .* fetches it"):
        refuse_pointer(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PAR1", POINTER[:20], b"{}\n" + POINTER])
def test_other_files_are_not(tmp_path: Path, content: bytes) -> None:
    """An empty file, a shorter one, and one that mentions a pointer later."""
    (tmp_path / "file").write_bytes(content)
    refuse_pointer(tmp_path / "file")
