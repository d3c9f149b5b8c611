"""What experiment files ask for."""

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from hycam_exp import config, grid
from hycam_exp.report import setting, titles
from hycam_exp.report.experiments import Experiments, Memo, _digest
from hycam_exp.report.tables.designs import DESIGNS
from hycam_exp.runs import PACKAGE

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
        assert e.setting == setting.decisive(asdict(run), None)
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
    assert e.missing(()) == f"{command}0,1,2,3,4"
    assert e.missing((0, 1, 4)) == f"{command}2,3"
    assert e.missing(range(5)) is None
    assert "'released=[m1_residual_stream]'" in experiments.rows("paper_vs_released")[1].command([0])


def test_what_was_made_is_kept_until_conf_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file is made again, and an older one goes."""
    memo = Memo(tmp_path)
    assert memo.get("a", lambda: (1, 2)) == [1, 2]
    memo.save()
    (file,) = tmp_path.iterdir()
    assert Memo(tmp_path).get("a", lambda: pytest.fail("made again")) == [1, 2]
    file.write_text("{")
    assert Memo(tmp_path).values == {}
    monkeypatch.setattr("hycam_exp.report.experiments._digest", lambda *_: "other")
    other = Memo(tmp_path)
    other.get("a", lambda: 3)
    other.save()
    assert [path.name for path in tmp_path.iterdir()] == ["settings-other.json"]


def test_what_was_made_is_made_again_after_any_change_of_what_made_it(tmp_path: Path) -> None:
    """Of a file of conf/, or of a source of a run or of the report."""
    conf, package = tmp_path / "conf", tmp_path / "package"
    shutil.copytree(config.config_dir(), conf)
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("*.json", "__pycache__", "assets"))
    digests = [_digest(conf, package)]
    sources = ("identity.py", "config.py", "grid.py", "report/progress.py", "report/claims/cost.py")
    for path in (conf / "recipe" / "mini.yaml", *(package / name for name in sources)):
        path.write_text(path.read_text() + "\n# changed\n")
        digests.append(_digest(conf, package))
    assert len(set(digests)) == 7
    assert _digest(conf, package) == digests[-1]
