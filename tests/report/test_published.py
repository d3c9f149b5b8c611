"""The paper's tables as values, and what is said of a copy that is broken."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hycam_exp.report.published import TABLES, read

COMMITTED = Path(__file__).parents[2] / "results" / "published"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder of its own with the committed tables."""
    return Path(shutil.copytree(COMMITTED, tmp_path / "copy"))


def test_the_committed_tables_are_whole() -> None:
    """75, 75, 30 and 75 cells, five data sets, five variants; a cell knows its file and line."""
    found = read()
    assert {name: len(found.tables[name]) for name in TABLES} == dict(zip(TABLES, (75, 75, 30, 75), strict=True))
    first = found.tables["table2_main"][0]
    assert (first.method, first.printed, first.column, first.metric, first.value) == (
        "full_ft", "Full Finetune", "llama2_7b", "ppl", 3.193,
    )  # fmt: skip
    assert (first.mark, first.starred, first.place) == ("", False, "table2_main.csv:2")
    assert (found.datasets[0].samples, found.datasets[0].average, found.datasets[0].rounding) == (5816, 162.22, 0.005)
    assert found.ablation["hycam_spec_only"] == 3.216
    assert found.scoreboard("table2_main").values["hycam", "mistral_7b", "bleu4"] == 0.171


def without(column: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [lines[0].replace(column, "other"), *lines[1:]]


def changed(index: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line.replace(old, new) if i == index else line for i, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("table2_main", without("value"), r"table2_main\.csv:1: no column value"),
        ("table2_main", changed(3, "0.231", "0.23l"), r"table2_main\.csv:4: value=0\.23l: not a number"),
        ("table2_main", changed(3, "0.231", "nan"), r"table2_main\.csv:4: value=nan: must be a number above 0"),
        ("table2_main", changed(3, "0.231", "-1"), r"table2_main\.csv:4: value=-1: must be a number above 0"),
        ("table2_main", changed(3, "Full", "Half"), r"table2_main\.csv:4: method=Half Finetune: must be one of Full"),
        ("table2_main", changed(3, "rouge_l", "rouge"), r"table2_main\.csv:4: metric=rouge: must be one of ppl"),
        ("table2_main", changed(3, ",,", ",third,"), r":4: mark=third: must be one of nothing, best, second"),
        ("table2_main", changed(3, ",,", ",,maybe"), r":4: starred=maybe: must be one of nothing, yes"),
        ("table2_main", changed(3, ",,", ""), r":4: mark: the line ends before it"),
        ("table2_main", changed(3, "rouge_l", "bleu4"), r":4: Full Finetune, llama2_7b, bleu4 stands in .*:3"),
        ("table2_main", lambda lines: lines[:-1], r"table2_main\.csv: no line for HyCAM, qwen2_5_7b, rouge_l"),
        ("table2_main", lambda lines: lines[:1], r"table2_main\.csv:1: no line below"),
        ("table1_datasets", changed(1, "5816", "5816.5"), r"table1_datasets\.csv:2: samples=5816\.5: must be a whole"),
        ("table6_ablation_llama2_7b", changed(1, "shared", "cam"), r":2: variant=cam_cam_only: must be one of hycam"),
        ("table6_ablation_llama2_7b", lambda lines: lines[:-1], r"7b\.csv: no line for hycam"),
        ("table6_ablation_llama2_7b", lambda lines: [*lines, lines[1]], r":7: variant=shared_cam_only stands here"),
    ],
)  # fmt: skip
def test_a_broken_table_is_named_with_its_line(
    copy: Path, name: str, edit: Callable[[list[str]], list[str]], message: str
) -> None:
    """A missing column, something that is no number, an unknown word, a missing or doubled line."""
    path = copy / f"{name}.csv"
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    with pytest.raises(ValueError, match=message):
        read(copy)


def test_a_missing_or_unreadable_table_is_named(copy: Path) -> None:
    """No such file, a folder in its place, or bytes that are no text."""
    path = copy / "table4_llama32.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"table4_llama32\.csv: cannot be read"):
        read(copy)
    path.unlink()
    with pytest.raises(ValueError, match=r"table4_llama32\.csv: cannot be read"):
        read(copy)
