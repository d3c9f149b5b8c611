"""Configuration: every law a value can break, and the one allowed double."""

from dataclasses import asdict
from importlib import import_module

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.identity import identity
from hycam_exp.config.methods import METHODS


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


def test_hycam_configs_defaults_equal_the_yaml_under_the_papers_recipe():
    """HyCAMConfig() alone is the paper's setting: the one value that stands in code and in YAML."""
    from hycam_exp import HyCAMConfig
    from hycam_exp.methods.hycam import peft_config

    settings = compose("recipe=paper", "recipe.learning_rate=1").method
    assert HyCAMConfig(task_type="CAUSAL_LM") == peft_config(settings, num_blocks=3)


@pytest.mark.parametrize(("config", "method"), [("MultiLoRAConfig", "multi_lora"), ("RieMoELoRAConfig", "riemoe_lora")])
def test_a_stacked_methods_defaults_equal_its_yaml_under_the_papers_recipe(config, method):
    """The config alone is the setting of the paper's comparison."""
    import hycam_exp

    module = import_module(METHODS[method].module)
    settings = compose(f"method={method}", "recipe=paper").method
    assert getattr(hycam_exp, config)(task_type="CAUSAL_LM") == module.peft_config(settings)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.rank=0", r"method\.rank=0: must be at least 1"),
        ("method.tau=0", r"method\.tau=0\.0: must be above 0"),
        ("method.tau=-1", r"method\.tau=-1\.0: must be above 0"),
        ("method.num_specialized=-1", r"method\.num_specialized=-1"),
        ("method.rank=many", r"method\.rank: Value 'many'"),
        ("method.rank=2.5", r"method\.rank: Value '2\.5'"),
        ("+method.typo=1", r"method\.typo: method has no key typo; there is name, match, rank, "),
        ("method.typo=1", r"method\.typo: method has no key typo; there is match, name, rank, "),
        ("method=quux", "method=quux: no such choice; there is adalora, cam, "),
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


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "${oc.env:HOME}", "meta-llama/Llama-3", ".hidden", "a b"])
@pytest.mark.parametrize("field", ["model.name", "data.name", "study", "data.tasks"])
def test_names_stay_inside_the_folders(field, name, monkeypatch):
    """What becomes part of a path is a plain name, also where it is an interpolation's value."""
    monkeypatch.setenv("HOME", "/root")
    value = f'["{name}"]' if field == "data.tasks" else f'"{name}"'
    with pytest.raises(ValueError, match=rf"^(a task of )?{field}=.*: must be a plain name: [^\n]*$"):
        compose(f"{field}={value}")
