"""What backbones, methods and tasks are called."""

from data_prep import mini
from hycam_exp.report import titles


def test_a_generated_task_has_a_title_of_its_own() -> None:
    """The mini set's tasks are called by no data set's name; tasks of one's own by the names that they have."""
    assert tuple(titles.MINI_TASKS) == mini.TASKS
    assert not any(title in mine for title in titles.TASKS.values() for mine in titles.MINI_TASKS.values())
    assert (titles.task("dolly"), titles.task("mini_code"), titles.task("mine")) == ("Dolly 2.0", "Mini code", "mine")
    assert titles.is_generated({"root": None})
    assert not titles.is_generated({"root": "data"})
