"""How far a grid is, on an experiment that is made up."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hycam_exp.report import setting
from hycam_exp.report.experiments import Expected
from hycam_exp.report.progress import Progress, _about, _folds, progress
from hycam_exp.report.select import summarise
from tests.report.page.page_content import record


def test_a_grid_counts_its_cells_that_have_a_record() -> None:
    """Folds outside the grid's and records of another method do not count, those of other code do: what has a record
    is not run again. Nothing needs the data.
    """
    other = replace(record("lora", 1), results_version=2)  # which a row of a table refuses
    records = [record("lora", 0), other, record("lora", 4), record("multi_lora", 0)]

    def rows(name: str) -> list[Expected]:
        methods = ("lora", "hycam") if name == "mini" else ()
        return [
            Expected(
                name, (f"method={m}",), ("tiny_llama", m, "mini"),
                lambda e: setting.decisive(record(e.names[1], 0).config, None),
            )
            for m in methods
        ]  # fmt: skip

    experiments: Any = SimpleNamespace(
        rows=rows, prepare=lambda *_: None, memo=SimpleNamespace(get=lambda key, make: [0, 1, 2])
    )
    found = {grid.experiment: grid for grid in progress(experiments, summarise(records))}
    assert found["mini"] == Progress(experiment="mini", about=_about("mini"), done=2, total=6)
    assert found["mini"].command == "python -m hycam_exp -m experiment=mini"
    assert found["table2_main"].total == 0


def test_a_grid_has_its_own_folds() -> None:
    """A grid without a sweep over folds runs the default one; its file says what it is."""
    assert (_folds("figure_tsne"), _folds("mini")) == ([0], [0, 1, 2, 3, 4])
    assert _about("table2_main").startswith("The paper's Table 2")
