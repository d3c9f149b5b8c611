"""The command line as a user sees it: one line for what they can mend, and no traceback."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from hycam_exp.__main__ import COMMANDS, execute
from hycam_exp.config.compose import compose, config_dir
from hycam_exp.data import sources
from hycam_exp.models.backbone import examine
from tests.made import RECORD

ROOT = Path(__file__).parents[1]


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hycam_exp", *arguments], capture_output=True, text=True, cwd=cwd)


def test_help_names_the_groups(tmp_path):
    """--help lists what can be chosen, from any folder, and loads no torch to do so."""
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    for line in ("method: adalora, cam, comol", "recipe: mini, paper"):
        assert line in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method.rank=0"], "error: method.rank=0: must be at least 1"),
        (["data=auto_cot", "data.root=nowhere"], "error: data.root=nowhere: no folder nowhere"),
        (["model=local", "model.path=nowhere"], "error: model.path=nowhere: no config.json there"),
        (["data.tasks=[other]"], "error: data.tasks=other: must be one of"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, arguments, message):
    """Exit status 1, the message on standard error, no traceback, and nothing written but empty folders."""
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cell_gives_a_sweeper_its_best_validation_loss(monkeypatch):
    """What Hydra's own launcher would hand to a sweeper that minimises it."""
    monkeypatch.setattr("hycam_exp.cell.run_cell", lambda run: RECORD)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        assert execute(hydra_compose("config", ["method=lora"])) == RECORD.fit.best_validation_loss


@pytest.mark.slow
def test_optuna_searches_and_goes_on(tmp_path):
    """It minimises the validation loss over a learning rate's range; with a seed the same command finds its cells."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = (
        "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=1", "model=tiny_qwen2",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.direction=minimize", "method=lora", "data.max_per_task=10",
        "data.tasks=[mini_reasoning]", "recipe.epochs=1", "recipe.global_batch_size=4", "evaluation.test=false",
        "recipe.learning_rate=tag(log,interval(1e-4,1e-2))",
    )  # fmt: skip
    for told in ("1 done, 0 skipped, 0 failed", "0 done, 1 skipped, 0 failed"):
        done = command(*search, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(told) == 2
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").glob("*.json")]
    best = min(records, key=lambda record: record["fit"]["best_validation_loss"])
    found = OmegaConf.load(tmp_path / "outputs" / "multirun" / "optimization_results.yaml")
    assert found.best_value == best["fit"]["best_validation_loss"]
    assert found.best_params == {"recipe.learning_rate": best["config"]["recipe"]["learning_rate"]}


@pytest.mark.parametrize(("name", "module"), COMMANDS.items())
def test_every_command_is_a_word_of_the_installed_one(tmp_path, name, module):
    """`hycam-exp plan` is `python -m hycam_exp.plan`, and so for the others: the same help, from any folder."""
    code = "from hycam_exp.__main__ import main; main()"
    said = [
        subprocess.run([sys.executable, *words, "--help"], capture_output=True, text=True, cwd=tmp_path)
        for words in (("-c", code, name), ("-m", module))
    ]
    assert [(done.returncode, done.stdout) for done in said] == [(0, said[1].stdout)] * 2
    assert said[1].stdout


def test_an_unwritable_results_folder_is_named(tmp_path):
    """A results folder that cannot be made is an error before anything is read."""
    (tmp_path / "file").write_text("")
    done = command("paths.results=file/results", cwd=tmp_path)
    assert done.returncode == 1
    assert "paths.results: cannot write in file/results/runs" in done.stderr


@pytest.mark.parametrize("page", ["README.md", "data_prep/README.md"])
def test_the_readmes_command_for_own_data_can_be_run(tmp_path, page):
    """As it stands, but for the file's name: the records are read, and are no longer than the backbone takes."""
    text = (ROOT / page).read_text().replace("\\\n", " ")
    (line,) = (line for line in text.splitlines() if line.startswith("    python -m hycam_exp data=generic"))
    (tmp_path / "FILE.json").write_text(json.dumps([{"question": "What is it?", "answer": "It."}]))
    overrides = shlex.split(line.replace("data.root=FILE", f"data.root={tmp_path / 'FILE.json'}"))[3:]
    run = compose(*overrides)
    examine(run.model, run.trainer, run.recipe.precision).check_length(run.data.max_length)
    (record,) = sources.read(run.data.tasks, run.data.root, run.data.fields).records
    assert (record.instruction, record.output) == ("What is it?", "It.")
