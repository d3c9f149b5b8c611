"""Table 1 as published, and the file of counts that the report has ours from."""

import json
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.data.table1 import Counted, Measured, datasets, folder, read_measured, written

MEASURED = Measured(
    tokenizer="llama3", tokenizer_sha256="ab" * 32, prompt="alpaca",
    tasks={"auto_cot": Counted(samples=4, total_tokens=10, content="c")},
)  # fmt: skip


def test_tables_are_where_the_package_looks() -> None:
    """All six tables of the paper are there; Table 1's first row is Auto-CoT's."""
    assert sorted(path.stem for path in folder().glob("*.csv")) == [
        "table1_datasets", "table2_main", "table3_qwen_sizes", "table4_llama32", "table5_tasks_llama2_7b",
        "table6_ablation_llama2_7b",
    ]  # fmt: skip
    first = datasets()[0]
    assert (first.task, first.samples, first.total_tokens, first.average, first.rounding) == (
        "auto_cot", 5816, 943_474, 162.22, 0.005,
    )  # fmt: skip
    assert (first.domain, first.place) == ("Arithmetic and other logical reasoning tasks", "table1_datasets.csv:2")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The same values, and None where there is no file."""
    path = tmp_path / "datasets.json"
    assert read_measured(path) is None
    path.write_bytes(written(MEASURED))
    assert read_measured(path) == MEASURED
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
        read_measured(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, content: bytes) -> None:
    """Whatever is left of it."""
    path = tmp_path / "datasets.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: not a whole file of counts"):
        read_measured(path)
