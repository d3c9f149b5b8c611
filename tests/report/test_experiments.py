"""What experiment files ask for."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hycam_exp.config import compose as config
from hycam_exp.config import grid
from hycam_exp.report import settings, titles
from hycam_exp.report.cache import Cache, code_digest, held_in, kept_in
from hycam_exp.report.experiments import Expected, Experiments, Progress, _about, progress
from hycam_exp.report.select import row_cells, select
from hycam_exp.report.tables.designs import DESIGNS
from tests.report.conftest import mini_frame

PAPERS = {"table2_main": 25, "table3_qwen_sizes": 25, "table4_llama32": 10, "table5_tasks": 5, "table6_ablation": 5}


@pytest.mark.parametrize(("experiment", "rows"), PAPERS.items())
def test_rows_are_the_papers(experiments: Experiments, experiment: str, rows: int) -> None:
    """Backbones times methods, each with a title."""
    found = experiments.rows(experiment)
    assert len(found) == rows
    assert {e.names[2] for e in found} == {"paper_mix"}
    assert {e.names[0] for e in found} <= set(titles.MODELS)
    assert {e.names[1] for e in found} <= set(titles.METHODS)


def test_a_setting_is_that_of_the_experiments_run(experiments: Experiments) -> None:
    """Also where the experiment file was left out in composing, and where it holds more than a sweep."""
    for experiment, index in (("table6_ablation", 1), ("mini", 1), ("paper_vs_released", 2)):
        e = experiments.rows(experiment)[index]
        (run,) = grid.runs([[*e.overrides, f"experiment={experiment}"]])
        assert e.values == settings.values(asdict(run))
        assert e.names == (run.model.name, run.method.name, run.data.name)


def test_every_file_of_a_group_is_named_as_the_thing_in_it() -> None:
    """So that a row's names follow from its overrides."""
    for design in DESIGNS:
        path = config.config_dir() / "experiment" / f"{design.experiment}.yaml"
        assert path.is_file(), path
    for group in ("model", "method"):
        for path in (config.config_dir() / group).glob("*.yaml"):
            if path.stem not in ("cam", "local"):
                assert f"name: {path.stem}\n" in path.read_text(), path


def test_the_command_runs_what_is_missing(experiments: Experiments) -> None:
    """Fold by fold, quoted for a shell."""
    e = experiments.rows("table2_main")[4]
    command = "python -m hycam_exp -m experiment=table2_main model=llama2_7b method=hycam fold="
    every = {(fold, fold) for fold in range(5)}
    assert e.missing(()) == f"{command}0,1,2,3,4"
    assert e.missing({(0, 0), (1, 1), (4, 4)}) == f"{command}2,3"
    assert e.missing(every) is None
    assert e.missing({(fold, seed + 1) for fold, seed in every}) == e.missing(())
    assert "'released=[m1_residual_stream]'" in experiments.rows("paper_vs_released")[1].command([0])


def test_a_row_has_the_cells_of_its_grid(experiments: Experiments) -> None:
    """Fold and seed of each: several folds with seeds of their own, or several seeds of the default fold."""
    assert experiments.rows("table2_main")[0].cells == tuple((fold, fold) for fold in range(5))
    assert experiments.rows("mini")[0].cells == tuple((fold, 10 * k + fold) for fold in range(5) for k in (0, 1))
    assert experiments.rows("figure_loss_curves")[0].cells == tuple((0, seed) for seed in (100, 200, 300, 400, 500))
    assert experiments.rows("figure_tsne")[0].cells == ((0, 0),)
    assert len(experiments.rows("figure_loss_curves")) == 5


def test_what_is_usual_is_in_the_yaml_files(experiments: Experiments) -> None:
    """The method's fields, which follow the recipe's rank; the recipe's, with the rate that was found for the method;
    nothing for a method or recipe without a file."""
    own = settings.values(asdict(config.compose("method=lora", "recipe.rank=4", "recipe.clip=null")))
    usual = experiments.usual(own, {"lora": 0.25, "hycam": 0.5})
    assert (usual["method.rank"], usual["method.alpha"], usual["recipe.clip"]) == (4, 4, 1.0)
    assert usual["recipe.learning_rate"] == 0.25
    assert settings.variant(own, experiments.usual(own, {"lora": own["recipe.learning_rate"]})) == {
        "recipe.clip": None, "recipe.rank": 4,
    }  # fmt: skip
    assert experiments.usual({**own, "method.name": "mine"}, {}) == {}
    assert experiments.usual({**own, "recipe.name": "mine"}, {}) == {}


def test_an_experiments_own_values_set_nothing_apart(experiments: Experiments) -> None:
    """A row that an experiment only sweeps has no variant, one of the ladder what its switches set."""
    assert all(experiments.variant(e) == {} for e in experiments.rows("mini"))
    ladder = experiments.rows("paper_vs_released")
    assert experiments.variant(ladder[0]) == {}
    assert experiments.variant(ladder[1]) == {"method.modulate": "residual_stream"}
    for experiment in ("paper_vs_released", "mini_ablation", "table2_main"):  # no row is taken for another
        found = [(e.fixed, e.names[1], settings.shown(experiments.variant(e))) for e in experiments.rows(experiment)]
        assert len(set(found)) == len(found), experiment


def test_a_grid_counts_its_cells_that_have_a_record(experiments: Experiments) -> None:
    """Folds outside the grid's and records of another method do not count."""

    def rows(name: str) -> list[Expected]:
        methods = ("lora", "hycam") if name == "mini" else ()
        return [
            Expected(name, (f"method={m}",), ("m", m, "mini"), tuple((f, 0) for f in (0, 1, 2)), lambda e: {})
            for m in methods
        ]

    done = {"lora": {(0, 0), (1, 0), (4, 0), (2, 7)}, "hycam": set()}
    asked: Any = SimpleNamespace(rows=rows)
    found = {grid.experiment: grid for grid in progress(asked, lambda e: done[e.names[1]])}
    assert found["mini"] == Progress(experiment="mini", about=_about("mini"), done=2, total=6)
    assert found["mini"].command == "python -m hycam_exp -m experiment=mini"
    assert found["table2_main"].total == 0
    assert _about("table2_main").startswith("The paper's Table 2")


def test_the_committed_study_is_a_whole_grid(experiments: Experiments) -> None:
    """Every cell of experiment=mini has its record, and none of the paper's."""
    selection = select(mini_frame(), experiments)
    found = {grid.experiment: grid for grid in progress(experiments, row_cells(selection, experiments))}
    assert (found["mini"].done, found["mini"].total, found["table2_main"].done) == (60, 60, 0)


def test_what_was_made_is_kept_until_conf_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file is made again, and so is one of other sources."""
    cache = kept_in(tmp_path)
    assert cache.get("section", "a", lambda: (1, 2)) == [1, 2]
    cache.save()
    file = tmp_path / "report" / "cache.json"
    assert held_in(tmp_path).get("section", "a", lambda: pytest.fail("made again")) == [1, 2]
    assert held_in(tmp_path / "elsewhere").held("section", "a") is None
    before = file.stat().st_mtime_ns
    held_in(tmp_path).save()
    assert file.stat().st_mtime_ns == before
    file.write_text("{")
    assert kept_in(tmp_path).held("section", "a") is None
    cache.put("section", "b", 3)
    cache.save()
    monkeypatch.setattr("hycam_exp.report.cache.code_digest", lambda *_: "other")
    assert kept_in(tmp_path).held("section", "b") is None
    assert Cache(None).get("section", "b", lambda: 4) == 4


def test_what_was_made_is_made_again_after_any_change_of_what_made_it(tmp_path: Path) -> None:
    """Of a file of conf/, or of any source."""
    conf, package = tmp_path / "conf", tmp_path / "package"
    for path in (conf / "recipe" / "mini.yaml", package / "cell.py", package / "report" / "claims" / "cost.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a")
    digests = [code_digest(conf, package)]
    for path in (conf / "recipe" / "mini.yaml", package / "cell.py", package / "report" / "claims" / "cost.py"):
        path.write_text("b")
        digests.append(code_digest(conf, package))
    assert len(set(digests)) == 4
    assert code_digest(conf, package) == digests[-1]
