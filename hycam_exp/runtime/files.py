"""Files that are whole or not there, and the faults of the disk beneath them. Standard library only."""

import errno
import os
import uuid
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO)


def write_atomically(path: Path, content: bytes) -> None:
    """The whole content under its name, or nothing: a temporary file in the same folder, synced and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
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


def disk_error(error: BaseException) -> OSError | None:
    """The file system's fault behind an error, in whatever form a library passes it on; None if it is none."""
    if isinstance(error, OSError):
        return error if error.errno in (*FULL, *CLOSED) else None
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full) if full in str(error) else None
