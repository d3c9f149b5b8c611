"""Files that are whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from hycam_exp.runtime.files import write_atomically
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
