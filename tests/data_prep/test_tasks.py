"""The five tasks: every one recognised under its names, and read by its converter."""

from pathlib import Path

import pytest

from data_prep import tasks
from data_prep.conversion import convert
from hycam_exp.data import published
from hycam_exp.data.records import Record
from tests.data_prep.test_conversion import GOOD

ALPACA = {"instruction": "Why?", "input": "About x.", "output": "So."}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("auto_cot", "auto_cot"), ("autocot", "auto_cot"), ("Auto-CoT", "auto_cot"), ("icliniq", "icliniq"),
        ("iCliniq", "icliniq"), ("dolly", "dolly"), ("databricks-dolly-15k", "dolly"), ("codealpaca", "code_alpaca"),
        ("code_alpaca", "code_alpaca"), ("CodeAlpaca-20k", "code_alpaca"), ("webgpt", "web_gpt"),
        ("web_gpt", "web_gpt"), ("webGPT", "web_gpt"),
        ("retention", None), ("alpaca", None), ("", None),
    ],
)  # fmt: skip
def test_folders_are_recognised(name: str, task: str | None) -> None:
    """Case and separators of a folder's name do not matter; an unknown name is no task."""
    assert tasks.recognised(name) == task


def test_tasks_are_those_of_the_published_table() -> None:
    """The paper's Table 1 has these five tasks, in this order."""
    assert list(tasks.TASKS) == [row.task for row in published.datasets()]


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_reads_its_own_and_alpacas_form(task: str) -> None:
    """A good upstream row, and Alpaca-CoT's conversion of any of the five, gives a record."""
    rows = [(1, GOOD[task]), (2, ALPACA)]
    found = list(convert(task, rows, "file", tasks.reading(task).fields))
    assert all(isinstance(record, Record) for record in found)
    assert isinstance(found[1], Record)
    assert (found[1].instruction, found[1].input, found[1].output) == ("Why?", "About x.", "So.")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("dolly", {"answer": "answer_chatgpt"}, "can be chosen for icliniq only, not for dolly"),
        ("dolly", {"answers": "both"}, "can be chosen for web_gpt only, not for dolly"),
        ("icliniq", {"answer": "mine"}, "must be one of answer_icliniq, answer_chatgpt, answer_chatdoctor"),
        ("web_gpt", {"answers": "all"}, "must be one of preferred, both"),
    ],
)
def test_option_of_another_task_is_refused(task: str, options: dict[str, str], message: str) -> None:
    """An option that would do nothing, or has an unknown value, is an error."""
    with pytest.raises(ValueError, match=message):
        tasks.reading(task, **options)


def test_two_folders_of_one_task_are_refused(tmp_path: Path) -> None:
    """With code_alpaca and codealpaca side by side nobody can say which is meant."""
    (tmp_path / "codealpaca").mkdir()
    assert tasks.folder_of("code_alpaca", tmp_path) == tmp_path / "codealpaca"
    (tmp_path / "code_alpaca").mkdir()
    with pytest.raises(ValueError, match="both code_alpaca and codealpaca are folders of code_alpaca"):
        tasks.folder_of("code_alpaca", tmp_path)


def test_folders_are_the_known_and_the_converted(tmp_path: Path) -> None:
    """In a folder of tasks there are the five, in their order, and what has a manifest; nothing else."""
    for name in ("webgpt", "dolly", "mine", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    assert list(tasks.folders(tmp_path).items()) == [(t, tmp_path / f) for t, f in (
        ("dolly", "dolly"), ("web_gpt", "webgpt"), ("mine", "mine"))]  # fmt: skip


def test_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    """No folder, or nothing known in it, is an error that says what is known."""
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        tasks.folders(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="known are auto_cot, "):
        tasks.folders(tmp_path)
