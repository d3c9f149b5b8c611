"""The file of counts that Table 1 of the report has ours from."""

import json
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.data.measured import Counted, Measured, read, written

MEASURED = Measured(
    tokenizer="llama3", tokenizer_sha256="ab" * 32, prompt="alpaca",
    tasks={"auto_cot": Counted(samples=4, total_tokens=10, content="c")},
)  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The same values, and None where there is no file."""
    path = tmp_path / "datasets.json"
    assert read(path) is None
    path.write_bytes(written(MEASURED))
    assert read(path) == MEASURED
    assert MEASURED.tasks["auto_cot"].average == 2.5


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.update(schema_version=2),
        lambda held: held.pop("prompt"),
        lambda held: held.update(tokenizer=None),
        lambda held: held.update(tasks=[]),
        lambda held: held["tasks"].update(dolly=None),
        lambda held: held["tasks"]["auto_cot"].update(samples=0),
        lambda held: held["tasks"]["auto_cot"].update(total_tokens=None),
        lambda held: held["tasks"]["auto_cot"].pop("content"),
    ],
)
def test_another_file_is_named(tmp_path: Path, change: Any) -> None:
    """With the command that makes it again."""
    held = json.loads(written(MEASURED))
    change(held)
    path = tmp_path / "datasets.json"
    path.write_text(json.dumps(held))
    with pytest.raises(ValueError, match=rf"^{path}: not .*; python -m data_prep stats .* makes it again$"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, content: bytes) -> None:
    """Whatever is left of it."""
    path = tmp_path / "datasets.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: not a whole file of counts"):
        read(path)
