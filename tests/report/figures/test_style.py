"""The look of figures."""

from hycam_exp.report import titles
from hycam_exp.report.figures.palette import METHODS, TASKS


def test_a_figure_calls_things_as_the_tables_do() -> None:
    """Every method and task that has a look has its title."""
    assert {name: look.name for name, look in METHODS.items()} == {n: titles.METHODS[n] for n in METHODS}
    assert {name: look.name for name, look in TASKS.items()} == titles.TASKS | titles.MINI_TASKS
