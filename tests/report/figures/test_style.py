"""The look of figures."""

from hycam_exp.report import titles
from hycam_exp.report.figures import style


def test_a_figure_calls_things_as_the_tables_do() -> None:
    """Every method and task that has a look has its title."""
    assert {name: look.name for name, look in style.METHODS.items()} == {n: titles.METHODS[n] for n in style.METHODS}
    assert {name: look.name for name, look in style.TASKS.items()} == titles.TASKS
