"""Configuration: every law a value can break, and the one allowed double."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from hycam_exp.config.identity import identity
from hycam_exp.config.settings import compose, config_dir, read


def test_the_bare_command_is_the_mini_cell():
    """Nothing given is tiny_llama, mini, hycam, recipe mini, trainer cpu, fold 0."""
    run = compose()
    assert (run.model.name, run.data.name, run.method.name) == ("tiny_llama", "mini", "hycam")
    assert (run.recipe.name, run.trainer.name, run.fold) == ("mini", "cpu", 0)


def test_a_task_of_ones_own_is_configuration_alone():
    """`data.fields` maps a user's fields, on the command line or in YAML; the content, not the names, is identity."""
    own = compose("data.tasks=[mine]", "data.fields={mine:{instruction:q,output:a}}", "data.root=x")
    assert own.data.fields == {"mine": {"instruction": "q", "output": "a"}}
    shipped = compose(
        "data=generic", "data.fields.mine.instruction=question", "data.fields.mine.group=page"
    ).data.fields
    assert shipped["mine"] == {"instruction": "question", "input": None, "output": "output", "group": "page"}
    assert "fields" not in identity(asdict(own))["data"]


@pytest.mark.parametrize("style", ["alpaca", "alpaca_newline", "chat", "plain"])
def test_prompt_is_one_of_four_styles(style):
    """The four templates are accepted, and another name is refused with them."""
    assert compose(f"data.prompt={style}").data.prompt == style
    with pytest.raises(ValueError, match=r"data\.prompt=vicuna: must be one of alpaca, alpaca_newline, plain, chat"):
        compose("data.prompt=vicuna")


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


def test_hycam_configs_defaults_equal_the_yaml_under_the_papers_recipe():
    """HyCAMConfig() alone is the paper's setting: the one value that stands in code and in YAML."""
    from hycam_exp import HyCAMConfig

    assert HyCAMConfig().settings() == compose("recipe=paper", "recipe.learning_rate=1").method


@pytest.mark.parametrize(("config", "method"), [("MultiLoRAConfig", "multi_lora"), ("RieMoELoRAConfig", "riemoe_lora")])
def test_a_stacked_methods_defaults_equal_its_yaml_under_the_papers_recipe(config, method):
    """The config alone is the setting of the paper's comparison."""
    import hycam_exp

    assert getattr(hycam_exp, config)().settings() == compose(f"method={method}", "recipe=paper").method


@pytest.mark.parametrize("path", sorted(config_dir().rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_file_in_conf_composes(path):
    """Each option of each group gives a checked run; `cam` alone is another option's second name."""
    group = path.parent.name
    if path.parent == config_dir():
        assert compose().seed == 0
        return
    extra = ["model.path=somewhere"] if path.stem == "local" else []
    chosen = f"[{path.stem}]" if group == "released" else path.stem
    run = compose(f"{path.parent.relative_to(config_dir())}={chosen}", *extra)
    if group not in ("released", "experiment", "launcher"):
        assert getattr(run, group).name == {"cam": "hycam_shared_only"}.get(path.stem, path.stem)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.rank=0", r"method\.rank=0: must be at least 1"),
        ("method.tau=0", r"method\.tau=0\.0: must be above 0"),
        ("method.tau=-1", r"method\.tau=-1\.0: must be above 0"),
        ("method.num_specialized=-1", r"method\.num_specialized=-1"),
        ("method.rank=many", r"method\.rank: Value 'many'"),
        ("method.rank=2.5", r"method\.rank: Value '2\.5'"),
        ("+method.typo=1", r"method\.typo: method has no key typo; there is name"),
        ("method.typo=1", r"method\.typo: method has no key typo; there is name"),
        ("method=nothing", "method=nothing: no such choice; there is cam, "),
        ("fold=5", r"fold=5: must be in 0\.\.4"),
        ("fold=-1", r"fold=-1"),
        ("seed=-1", r"seed=-1"),
        ("model=local", r"model\.path"),
        ("data.tasks=[]", r"data\.tasks=\[\]: needs at least one task"),
        ("data.tasks=[mini_passage,mini_passage]", r"names a task twice"),
        ("data.prompt=other", r"data\.prompt=other: must be one of alpaca"),
        ("data.group=other", r"data\.group=other"),
        ("data.loss_on=other", r"data\.loss_on=other"),
        ("data.padding=none", r"data\.padding=none: must be one of longest, max_length"),
        ("data.max_length=1", r"data\.max_length=1"),
        ("data.max_per_task=1", r"data\.max_per_task=1"),
        ("data.weights={math: 2}", r"data\.weights\.math=2\.0: data\.tasks is mini_reasoning"),
        ("data.weights={mini_passage: 0}", r"data\.weights\.mini_passage=0\.0: must be above 0"),
        ("recipe.precision=half", r"recipe\.precision=half: must be one of float32"),
        ("recipe.epochs=0", r"recipe\.epochs=0"),
        ("recipe.clip=0", r"recipe\.clip=0\.0"),
        ("recipe.betas=[0.9]", r"recipe\.betas=\[0\.9\]"),
        ("recipe.betas=[0.9,1]", r"recipe\.betas=\[0\.9, 1\.0\]"),
        ("recipe.learning_rate=0", r"recipe\.learning_rate=0\.0"),
        ("trainer.devices=2", r"trainer\.devices=2: needs a strategy"),
        ("trainer.micro_batch_size=0", r"trainer\.micro_batch_size=0"),
        ("trainer.accelerator=tpu", r"trainer\.accelerator=tpu"),
        ("logger.name=paper", r"logger\.name=paper"),
        ("resume=maybe", r"resume=maybe"),
    ],
)
def test_a_value_that_breaks_a_law_is_named(override, message):
    """The error names the key and the value, before anything is loaded."""
    with pytest.raises(ValueError, match=message):
        compose(override)


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("multi_lora", "method.rank=0", r"method\.rank=0: must be at least 1"),
        ("multi_lora", "method.alpha=0", r"method\.alpha=0: must be at least 1"),
        ("multi_lora", "method.num_modules=0", r"method\.num_modules=0: must be at least 1"),
        ("riemoe_lora", "method.num_experts=0", r"method\.num_experts=0: must be at least 1"),
        ("riemoe_lora", "method.top_k=6", r"method\.top_k=6: must be in 1\.\.method\.num_experts=5"),
        ("riemoe_lora", "method.top_k=0", r"method\.top_k=0: must be in 1\.\.method\.num_experts=5"),
        ("riemoe_lora", "method.regularisation=0", r"method\.regularisation=0\.0: must be above 0"),
    ],
)
def test_a_method_value_that_breaks_a_law_is_named(method, override, message):
    """The error names the key and the value of a method that is not the default one."""
    with pytest.raises(ValueError, match=message):
        compose(f"method={method}", override)


def test_the_config_is_read_without_torch():
    """Composing, checking and naming a run loads neither torch nor what stands on it."""
    code = (
        "import sys; from hycam_exp.config.settings import compose; compose(); "
        "print({'torch', 'peft', 'transformers', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_method_name_inside_a_section_is_named():
    """A method section whose name is not in METHODS cannot be checked, and says so."""
    from omegaconf import OmegaConf

    with pytest.raises(ValueError, match=r"method\.name=other: must be one of full_ft, lora, "):
        read(OmegaConf.create({"method": {"name": "other"}}))


def test_an_experiment_that_is_not_there_is_an_error():
    """Rather than the default cell under a wrong name."""
    with pytest.raises(ValueError, match="experiment=nope: no such choice; there is "):
        compose("experiment=nope")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "${oc.env:HOME}", "meta-llama/Llama-3", ".hidden", "a b"])
@pytest.mark.parametrize("field", ["model.name", "data.name", "study", "data.tasks"])
def test_names_stay_inside_the_folders(field, name, monkeypatch):
    """What becomes part of a path is a plain name, also where it is an interpolation's value."""
    monkeypatch.setenv("HOME", "/root")
    value = f'["{name}"]' if field == "data.tasks" else f'"{name}"'
    with pytest.raises(ValueError, match=rf"^(a task of )?{field}=.*: must be a plain name: [^\n]*$"):
        compose(f"{field}={value}")
