"""Pointers of Git LFS are told from the files that they stand for."""

from pathlib import Path

import pytest

from hycam_exp.runtime.git_lfs import refuse_pointer

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
