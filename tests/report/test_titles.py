"""What backbones, methods and tasks are called."""

from hycam_exp.report import titles


def test_a_generated_task_is_not_called_by_its_data_sets_name_alone() -> None:
    """The package's own tasks say that they are generated; data of a folder, and unknown tasks, have their names."""
    assert titles.task("dolly", is_generated=True) == "Dolly 2.0 (generated)"
    assert (titles.task("dolly"), titles.task("mine")) == ("Dolly 2.0", "mine")
    assert titles.is_generated({"root": None})
    assert not titles.is_generated({"root": "data"})
