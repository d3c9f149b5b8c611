"""Grids: the cells of Hydra's own sweep, and runs equal to a full composition."""

import re

import pytest
from hydra import initialize_config_dir

from hycam_exp.config import grid
from hycam_exp.config.compose import compose, config_dir
from hycam_exp.config.grid import Composer, expand, runs, sweep


def test_an_experiments_sweep_is_expanded_in_its_order():
    """Every method, for each every fold, and that twice; what is given besides stands in every cell."""
    cells = expand(["experiment=mini", "recipe.clip=null"])
    assert len(cells) == 60
    assert cells[0] == ["method=full_ft", "fold=0", "repetition=0", "experiment=mini", "recipe.clip=null"]
    assert (cells[1][2], cells[2][1]) == ("repetition=1", "fold=1")


def test_the_command_line_replaces_a_sweep_of_the_same_key():
    """method=lora narrows the experiment to LoRA."""
    assert expand(["experiment=mini", "method=lora", "fold=1,2", "repetition=0"]) == [
        ["method=lora", "fold=1", "repetition=0", "experiment=mini"],
        ["method=lora", "fold=2", "repetition=0", "experiment=mini"],
    ]


def test_an_experiments_sweep_is_found_without_composing():
    """The cells of every experiment file are those that its composition gives."""
    for path in sorted((config_dir() / "experiment").glob("*.yaml")):
        composed = [
            [line for line in cell if line != f"experiment={path.stem}"] for cell in expand([f"experiment={path.stem}"])
        ]
        assert sweep(path.stem) == composed, path.stem


def test_cells_are_distinct_and_without_hydras_own_settings():
    """The same value twice is one cell, and a launcher's setting is no cell's."""
    assert expand(["fold=1,1", "hydra.job.num=3"]) == [["fold=1"]]


def test_ranges_lists_and_globs_are_expanded_as_hydra_does():
    """range, and a list in brackets is one value."""
    assert expand(["fold=range(0,3)"]) == [["fold=0"], ["fold=1"], ["fold=2"]]
    assert expand(["released=[],[m2_hard_routing]"]) == [["released=[]"], ["released=[m2_hard_routing]"]]
    assert ["method=lora"] in expand(["method=glob(lora*)"])


def test_without_a_sweep_there_is_one_cell():
    """The bare command is the mini cell; an experiment's sweep needs a multirun."""
    assert expand([]) == [[]]
    assert len(expand(["experiment=mini", "hydra.mode=RUN"])) == 1
    assert len(expand(["experiment=mini", "hydra.mode=RUN"], multirun=True)) == 60


@pytest.mark.parametrize(
    "cell",
    [
        [],
        ["method=lora", "fold=3", "experiment=mini"],
        ["fold=3", "repetition=1"],
        ["fold=2", "repetition=1", "seed=4"],
        ["fold=2", "seed=null"],
        ["model=llama3_8b", "method=hycam_released", "seed=2"],
        ["method=hycam", "released=[m2_hard_routing]", "method.tau=0.25", "fold=1"],
        ["paths.outputs=out/${fold}", "fold=4"],
        ["recipe=paper", "model=tiny_qwen2", "method=lora_matched", "method@method.match=hycam_shared_only"],
        ["+model.architecture.rope_theta=3.0", "model=tiny_mistral"],
    ],
)
def test_a_run_is_that_of_a_full_composition(cell):
    """Setting values on what was composed before gives the same run."""
    assert runs([cell])[0] == compose(*cell)


def test_many_cells_take_few_compositions(monkeypatch):
    """Methods and backbones are composed apart: 275 cells need as many as there are of both, and one more each."""
    done = []
    original = grid.hydra_compose
    monkeypatch.setattr(grid, "hydra_compose", lambda *given, **more: done.append(given) or original(*given, **more))
    models, methods = ["tiny_llama", "tiny_qwen2", "llama3_8b"], ["full_ft", "lora", "multi_lora", "hycam"]
    cells = [[f"model={m}", f"method={n}", f"fold={f}"] for m in models for n in methods for f in range(5)]
    found = Composer()(cells)
    assert [run.fold for run in found] == [0, 1, 2, 3, 4] * 12
    assert len(done) == len(models) + len(methods)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["methd=lora"], "methd: the config has no key methd; nearest: method"),
        (["method=lorra"], "method=lorra: no such choice; nearest: method=lora"),
        (["method.rnk=3,4"], "method.rnk: method has no key rnk; nearest: method.rank"),
        (["method.rank=x"], "method.rank: Value 'x'"),
        (["fold=7"], "fold=7: must be in 0..4"),
        (["fold=a", "seed=0,1"], "fold: Value 'a'"),
        (["a=b=[c"], "a=b=[c"),
    ],
)
def test_a_wrong_override_is_one_line(overrides, message):
    """A ValueError of one line names it."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        runs(expand(overrides))
    assert "\n" not in str(caught.value)


def test_within_a_running_hydra_its_runs_are_those_of_full_compositions():
    """A launcher composes its cells under the Hydra of the command: every 31st cell of Table 2 is as composed alone."""
    cells = expand(["experiment=table2_main"])[::31]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        found = runs(cells)
    assert found == [compose(*cell) for cell in cells]


def test_what_is_wrong_is_told_of_all_cells():
    """A line for each different mistake, in the cells' order, and one for those that share it."""
    cells = [["recipe.epochs=0"], ["fold=1"], ["method.typo=1"], ["recipe.epochs=0", "fold=2"], ["metod=lora"]]
    with pytest.raises(ValueError, match=r"recipe\.epochs") as caught:
        runs(cells)
    assert [re.split(r"[:=]", line)[0] for line in str(caught.value).splitlines()] == [
        "recipe.epochs", "method.typo", "metod",
    ]  # fmt: skip
