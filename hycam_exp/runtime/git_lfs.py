"""Pointers of Git LFS: the three lines of text that stand in a clone for a large file that was not fetched.

Standard library only. See: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
"""How the first line of a pointer begins."""


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
