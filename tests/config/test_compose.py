"""Composing a run: what the bare command is, what a choice brings with it, and that every file composes."""

import re
import subprocess
import sys

import pytest

from hycam_exp.config.compose import compose, config_dir, read


def test_the_bare_command_is_the_mini_cell():
    """Nothing given is tiny_llama, mini, hycam, recipe mini, trainer cpu, fold 0."""
    run = compose()
    assert (run.model.name, run.data.name, run.method.name) == ("tiny_llama", "mini", "hycam")
    assert (run.recipe.name, run.trainer.name, run.fold) == ("mini", "cpu", 0)


def test_a_real_backbone_brings_the_papers_recipe_data_and_hardware():
    """model=llama3_8b alone is the paper's cell, and a recipe named on the command line still wins."""
    run = compose("model=llama3_8b")
    assert (run.recipe.name, run.data.name, run.trainer.name) == ("paper", "paper_mix", "gpu")
    assert compose("model=llama3_8b", "recipe=mini").recipe.name == "mini"


def test_under_the_papers_recipe_hycam_has_the_papers_values():
    """Rank 64, five specialized CAMs, tau 0.5, balance weight 0.1, learning rate 2e-5, 1,200 tokens."""
    run = compose("model=llama3_8b")
    assert (run.method.rank, run.method.num_specialized) == (64, 5)
    assert (run.method.tau, run.method.balance_weight) == (0.5, 0.1)
    assert (run.recipe.learning_rate, run.data.max_length) == (2e-5, 1200)


@pytest.mark.parametrize("path", sorted(config_dir().rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_file_in_conf_composes(path):
    """Each option of each group gives a checked run; `cam` alone is another option's second name."""
    group = path.parent.name
    if path.parent == config_dir():
        assert compose().seed == 0
        return
    extra = {"local": ["model.path=somewhere"], "peft": ["method.type=LOHA"]}.get(path.stem, [])
    chosen = f"[{path.stem}]" if group == "released" else path.stem
    run = compose(f"{path.parent.relative_to(config_dir())}={chosen}", *extra)
    if group not in ("released", "experiment", "launcher"):
        assert getattr(run, group).name == {"cam": "hycam_shared_only"}.get(path.stem, path.stem)


def test_the_config_is_read_without_torch():
    """Composing, checking and naming a run loads neither torch nor what stands on it."""
    code = (
        "import sys; from hycam_exp.config.compose import compose; compose(); "
        "print({'torch', 'peft', 'transformers', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_method_name_inside_a_section_is_named():
    """A method section whose name is not in METHODS cannot be checked, and says so."""
    from omegaconf import OmegaConf

    with pytest.raises(ValueError, match=r"method\.name=other: must be one of full_ft, lora, "):
        read(OmegaConf.create({"method": {"name": "other"}}))


@pytest.mark.parametrize(
    ("match", "law"),
    [
        ("hycm", "must be a number of parameters, or a method; nearest: hycam"),
        ("0", "must be a number of parameters, at least 1, or a method"),
        ("2.5", "must be a number of parameters, at least 1, or a method"),
    ],
)
def test_what_no_method_can_be_matched_to_is_named(match, law):
    """A name that is no method's, and a number that is none of parameters."""
    with pytest.raises(ValueError, match=re.escape(f"method.match={match}: {law}")):
        compose("method=lora", f"method.match={match}")


def test_what_is_matched_follows_the_recipe():
    """The settings that `method.match` names are those of that method's file under the same recipe and data."""
    run = compose("method=moelora", "method.match=mtl_lora", "recipe.rank=16", "data.tasks=[mini_code,mini_passage]")
    assert (
        run.method.match == compose("method=mtl_lora", "recipe.rank=16", "data.tasks=[mini_code,mini_passage]").method
    )


def test_an_experiment_that_is_not_there_is_an_error():
    """Rather than the default cell under a wrong name."""
    with pytest.raises(ValueError, match="experiment=nope: no such choice; there is "):
        compose("experiment=nope")
