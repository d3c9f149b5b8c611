"""Experiments: the cells that each sweeps over."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.grid import runs as runs_of
from hycam_exp.config.identity import run_id


def cells_of(experiment: str) -> list[list[str]]:
    """The overrides of every cell that an experiment sweeps over."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from hycam_exp.config.compose import config_dir

    chosen = OmegaConf.load(config_dir() / "experiment" / f"{experiment}.yaml")
    params: dict[str, str] = dict(chosen.hydra.sweeper.params)
    if "mini" in chosen.get("defaults", []):
        params = {"fold": "0,1,2,3,4", "repetition": "0,1", **params}
    overrides = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    return BasicSweeper.split_arguments(overrides, None)[0]


@pytest.mark.parametrize(
    ("experiment", "num_forms"),
    [
        ("mini", 6),
        pytest.param("mini_ablation", 5, marks=pytest.mark.slow),
        pytest.param("mini_num_specialized", 8, marks=pytest.mark.slow),
        pytest.param("mini_tau", 5, marks=pytest.mark.slow),
        pytest.param("paper_vs_released", 11, marks=pytest.mark.slow),
    ],
)
def test_an_experiments_cells_are_all_different_and_compose(experiment: str, num_forms: int) -> None:
    """So many forms over five folds, twice with seeds of their own, in the setting that they share; HyCAM's cells are
    those of both mini grids."""
    runs = runs_of([[f"experiment={experiment}", *overrides] for overrides in cells_of(experiment)])
    assert len({run_id(run, {}) for run in runs}) == len(runs) == 10 * num_forms
    assert {(run.fold, run.seed) for run in runs} == {(fold, 10 * k + fold) for fold in range(5) for k in (0, 1)}
    plain = compose("experiment=mini").method
    shared = [run_id(run, {}) for run in runs if run.method == plain]
    assert shared == [
        run_id(compose("experiment=mini", f"fold={fold}", f"repetition={k}"), {}) for fold in range(5) for k in (0, 1)
    ]


@pytest.mark.parametrize(
    ("experiment", "shared", "num_forms"),
    [("mini_budget_matched", {"lora_matched", "hycam"}, 23), ("mini_budget_matched_lora", {"lora"}, 22)],
)
def test_what_is_at_a_budget_already_is_the_cell_of_the_mini_grid(
    experiment: str, shared: set[str], num_forms: int
) -> None:
    """Five folds of each method once; one at its own budget, and lora_matched at HyCAM's, has no cell of its own."""
    cells = cells_of(experiment)
    assert len(cells) == 5 * num_forms
    first = [[f"experiment={experiment}", *overrides] for overrides in cells if "fold=0" in overrides]
    ids = {run.method.name: run_id(run, {}) for run in runs_of(first)}
    assert len(set(ids.values())) == num_forms
    mini = {run_id(run, {}) for run in runs_of([["experiment=mini", "fold=0", f"method={name}"] for name in ids])}
    assert {name for name in ids if ids[name] in mini} == shared


GRIDS = {
    "table2_main": 125, "table3_qwen_sizes": 125, "table4_llama32": 50, "table5_tasks": 25, "table6_ablation": 25,
    "figure_num_specialized": 40, "figure_tau": 25, "figure_loss_curves": 25, "figure_tsne": 1, "budget_matched": 400,
    "budget_matched_lora": 375,
}  # fmt: skip


@pytest.mark.parametrize("experiment", GRIDS)
def test_a_table_or_figure_of_the_paper_has_its_cells(experiment: str) -> None:
    """So many cells, the first and last of which are the paper's recipe on the paper's mix."""
    cells = cells_of(experiment)
    assert len(cells) == len({tuple(cell) for cell in cells}) == GRIDS[experiment]
    for overrides in (cells[0], cells[-1]):
        run = compose(f"experiment={experiment}", *overrides)
        assert (run.recipe.name, run.data.name, run.trainer.name) == ("paper", "paper_mix", "gpu")
        assert set(overrides) & {f"model={run.model.name}"}


def test_the_ladder_ends_at_the_released_form() -> None:
    """Each step of paper_vs_released turns on one switch more, and the last is `method=hycam_released`."""
    steps = [
        compose(*overrides).method
        for overrides in cells_of("paper_vs_released")
        if {"fold=0", "repetition=0"} <= {*overrides}
    ]
    assert replace(steps[-1], name="hycam_released") == compose("method=hycam_released").method
    changes = [sum(a != b for a, b in zip(*(_flat(s) for s in pair), strict=True)) for pair in pairwise(steps)]
    assert changes == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1]


def _flat(settings: object) -> list[object]:
    values = asdict(settings)
    return [*values.pop("routing").values(), *values.values()]
