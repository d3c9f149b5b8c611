"""The five tasks: those of the paper, each read by its converter."""

import pytest

from data_prep import tasks
from data_prep.conversion import convert
from hycam_exp.data.records import Record
from hycam_exp.data.table1 import datasets
from tests.data_prep.test_conversion import GOOD

ALPACA = {"instruction": "Why?", "input": "About x.", "output": "So."}


def test_tasks_are_those_of_the_published_table() -> None:
    """The paper's Table 1 has these five tasks, in this order."""
    assert list(tasks.TASKS) == [row.task for row in datasets()]


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
