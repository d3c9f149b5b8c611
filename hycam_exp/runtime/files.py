"""Files that are whole or not there, those that only point to one, and the faults of the disk beneath them.

Standard library only. See: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import errno
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
POINTER = b"version https://git-lfs.github.com/spec/"
"""How a pointer of Git LFS begins: the text that a clone has for a large file that was not fetched."""


def write_atomically(path: Path, content: bytes) -> None:
    """The whole content under its name, or nothing: a temporary file in the same folder, synced and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def temporary_of(path: Path) -> Path:
    """A name beside a file for its content until it is whole, which no other process on any host takes."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def sweep(paths: Iterable[Path], quiet: float = 0.0) -> None:
    """Remove those of the files that have a temporary name and were not written to for so many seconds."""
    for path in paths:
        with suppress(FileNotFoundError):  # whoever wrote it has put it in its place
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime >= quiet:
                path.unlink()


def share(path: Path) -> None:
    """Let a file that a library has made for its user alone be read by whom the user's umask allows."""
    umask = os.umask(0o077)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content; of a folder, over the names and digests of all files in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [(str(file.relative_to(path)), digest_of(file)) for file in files]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal_of(path: Path) -> Path:
    """The file beside another, or beside a folder, that holds its digest."""
    return path.with_name(f"{path.name}.sha256")


@contextmanager
def sealing(path: Path, new: Path) -> Iterator[None]:
    """Inside, `new` takes the place of `path`, whose seal then holds its digest.

    Until it has, the seal holds the digests from before as well: whenever the process dies, what is there is intact.
    """
    digest, seal = digest_of(new), seal_of(path)
    known = seal.read_bytes().split() if seal.is_file() else []
    write_atomically(seal, b"\n".join([digest.encode(), *known]))
    yield
    write_atomically(seal, digest.encode())


def is_intact(path: Path) -> bool:
    """A file or folder is there and is what was written under its seal; false too where there is no seal."""
    seal = seal_of(path)
    return path.exists() and seal.is_file() and digest_of(path).encode() in seal.read_bytes().split()


def disk_error(error: BaseException) -> OSError | None:
    """The file system's fault behind an error, in whatever form a library passes it on; None if it is none."""
    if isinstance(error, OSError):
        return error if error.errno in (*FULL, *CLOSED) else None
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full) if full in str(error) else None


def refuse_pointer(path: Path) -> None:
    """Raise a `ValueError` where a file is a pointer of Git LFS; a file of data or weights is read on.

    Raises:
        ValueError: it is a pointer; names the file and the command that gets what it stands for.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(len(POINTER)) == POINTER:
            raise ValueError(
                f"{path}: a Git LFS pointer in place of the file itself; `git lfs pull` in {path.parent} fetches it"
            )
