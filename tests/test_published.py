"""The twelve backbones of the hub: their published sizes, without network, against models on the meta device."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from hycam_exp.cell import run_cell
from hycam_exp.config.compose import compose, config_dir
from hycam_exp.config.dimensions import dimensions_of
from hycam_exp.config.identity import run_id
from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import ModelSettings, Run
from hycam_exp.methods import attach
from hycam_exp.methods.recognition import dimensions
from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import load_model

PARAMETERS = {
    "llama2_7b": 6_738_415_616,
    "llama3_8b": 8_030_261_248,
    "llama3_1_8b": 8_030_261_248,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "mistral_7b": 7_248_023_552,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1_543_714_304,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_14b": 14_770_033_664,
    "smollm2_135m": 134_515_008,
}
OF_THE_PAPER = [name for name in PARAMETERS if name != "smollm2_135m"]
FAMILIES = {"llama": "llama3_2_1b", "mistral": "mistral_7b", "qwen2": "qwen2_5_0_5b"}
TOKENIZERS = {
    "llama2": ["llama2_7b"],
    "llama3": [name for name in PARAMETERS if name.startswith("llama3")],
    "mistral_v0_3": ["mistral_7b"],
    "qwen2_5": [name for name in PARAMETERS if name.startswith("qwen2_5")],
}


def fast_if(holds: bool, *values: str) -> Any:
    """A case that is slow where `holds` is false."""
    return pytest.param(*values, marks=() if holds else pytest.mark.slow)


PAIRS = [
    fast_if(method == "hycam" or model == FAMILIES["llama"], model, method)
    for model in PARAMETERS
    for method in METHODS
    if method != "peft"
]


@cache
def published(name: str) -> ModelSettings:
    return compose(f"model={name}").model


def on_meta(architecture: dict[str, Any]) -> PreTrainedModel:
    """The model without memory for its weights."""
    fields = dict(architecture)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def test_every_hub_backbone_is_tried_here():
    """A config whose source is the hub has its published number of parameters above."""
    options = [path.stem for path in (config_dir() / "model").glob("*.yaml") if path.stem != "local"]
    assert {name for name in options if published(name).source == "hub"} == set(PARAMETERS)


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_option_brings_the_papers_cell(name):
    """Each brings recipe, data and hardware of the paper, and a recipe named on the command line still wins."""
    run = compose(f"model={name}", "recipe=mini")
    assert (run.model.name, run.recipe.name, run.data.name, run.trainer.name) == (name, "mini", "paper_mix", "gpu")
    assert compose(f"model={name}").recipe.name == "paper"


def test_every_option_pins_files_of_its_own():
    """Hub id and revision are named once each, the revision as a whole commit."""
    assert len({published(name).hub_id for name in PARAMETERS}) == len(PARAMETERS)
    revisions = {published(name).revision for name in PARAMETERS}
    assert len(revisions) == len(PARAMETERS)
    assert {len(bytes.fromhex(revision)) for revision in revisions} == {20}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_architecture_has_the_published_number_of_parameters(name):
    """The sum over the sizes is exactly what the model's authors count, tied embeddings once."""
    assert dimensions_of(published(name).architecture).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_dimensions_of_the_architecture_are_those_of_the_model(name):
    """What is computed from the config alone equals what is read from the model built of it."""
    architecture = published(name).architecture
    assert dimensions_of(architecture) == dimensions(on_meta(architecture))


def test_head_size_may_differ_from_width_over_heads():
    """A published head_dim decides the projections' sizes."""
    architecture = {**published("llama3_2_1b").architecture, "num_hidden_layers": 2, "head_dim": 32}
    found = dimensions_of(architecture)
    assert found.linears[0] == (2048, 1024)
    assert found == dimensions(on_meta(architecture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, r"model\.architecture\.model_type=gpt2: must be one of llama, mistral, qwen2"),
        ({"vocab_size": None}, r"model\.architecture lacks vocab_size"),
    ],
)
def test_dimensions_of_an_unknown_architecture_are_refused(change, message):
    """Another family, or a missing field, is named; nothing is guessed."""
    with pytest.raises(ValueError, match=message):
        dimensions_of({**published("llama2_7b").architecture, **change})


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_method_on_the_real_sizes_trains_its_closed_form(name, method):
    """On every backbone every method, by the paper's recipe, finds its modules and trains what its closed form says."""
    settings = compose(f"model={name}", f"method={method}").method
    architecture = published(name).architecture
    model = on_meta(architecture)
    with torch.device("meta"):
        adapted = attach(model, settings)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert {p.device.type for p in adapted.parameters()} == {"meta"}
    assert sum(p.numel() for p in trained) == settings.num_parameters(dimensions_of(architecture))


def reduced(name: str, tmp_path: Path) -> Run:
    """A cell on a random backbone of the same family, head ratio and tying, from the same option of `model`."""
    architecture = published(name).architecture
    heads = 2 * architecture["num_attention_heads"] // architecture["num_key_value_heads"]
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": 2, "hidden_size": 8 * heads,
        "intermediate_size": 16 * heads,
    }  # fmt: skip
    return compose(
        f"model={name}", "model.source=random", "model.path=tiny_llama",
        *(f"model.architecture.{field}={size}" for field, size in sizes.items()),
        "recipe=mini", "data=mini", "trainer=cpu", "data.tasks=[mini_reasoning]", "data.max_per_task=20",
        "recipe.epochs=1", "recipe.global_batch_size=8", "recipe.validations_per_epoch=1", "evaluation.test=false",
        f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}",
    )  # fmt: skip


@pytest.mark.parametrize("name", [fast_if(name in FAMILIES.values(), name) for name in PARAMETERS])
def test_architecture_trains_at_a_reduced_size(name, tmp_path):
    """The same option with fewer and smaller blocks trains with HyCAM: two steps of finite loss move every block."""
    run = reduced(name, tmp_path)
    for field in ("model_type", "tie_word_embeddings", "max_position_embeddings"):
        assert run.model.architecture[field] == published(name).architecture[field]
    record = run_cell(run)
    assert len(record.curves.train) == 2
    assert all(math.isfinite(row["loss"]) for row in record.curves.train)
    saved = load_file(tmp_path / "outputs" / record.run_id / "adapter" / "adapter_model.safetensors")
    shared = [weight for key, weight in saved.items() if "hycam_shared" in key]  # zero before the first step
    assert [bool(weight.any()) for weight in shared] == [True] * run.model.architecture["num_hidden_layers"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokenizer_facts_are_those_of_the_real_tokenizer(kind, shared):
    """BOS and EOS ids and length agree with the tokenizer on disk, for every backbone that has it."""
    folder = shared / "tokenizers" / kind
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    missing = 19 if kind == "qwen2_5" else 0  # the copy on disk lacks these of Qwen's 22 added tokens
    for name in TOKENIZERS[kind]:
        facts = {"length": len(tokenizer) + missing, "bos_id": tokenizer.bos_token_id, "eos_id": tokenizer.eos_token_id}
        assert published(name).tokenizer == facts
        assert facts["length"] <= published(name).architecture["vocab_size"]


@pytest.fixture
def hub(monkeypatch) -> SimpleNamespace:
    """A hub that holds one small Qwen2 config and the embedded tokenizer, and notes what is built from it."""
    tiny = describe(compose("model=tiny_qwen2").model)
    found = SimpleNamespace(config=tiny.config, tokenizer=tiny.tokenizer, built=[])
    model = load_model(tiny, "float32")

    def built(*a, **k):
        found.built.append((a, k))
        return model, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}

    monkeypatch.setattr("hycam_exp.models.backbone._reach", lambda settings: [])
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *a, **k: found.config)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *a, **k: found.tokenizer)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", built)
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", lambda *a, **k: pytest.fail("built from the architecture"))
    return found


def as_published(hub: SimpleNamespace) -> ModelSettings:
    """The settings of a hub backbone whose published facts are what this hub holds."""
    names = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size", "tie_word_embeddings")
    architecture = {field: getattr(hub.config, field) for field in names}
    length, bos, eos = len(hub.tokenizer), hub.tokenizer.bos_token_id, hub.tokenizer.eos_token_id
    tokenizer = {"length": length, "bos_id": bos, "eos_id": eos}
    return replace(published("qwen2_5_7b"), architecture=architecture, tokenizer=tokenizer)


def test_hub_backbone_is_built_from_the_hubs_config(hub):
    """The published architecture builds nothing: config, tokenizer and weights are the hub's, at the revision."""
    settings = as_published(hub)
    backbone = describe(settings)
    assert backbone.config is hub.config
    load_model(backbone, "float32")
    ((origin,), options) = hub.built[0]
    assert (origin, options["revision"]) == (settings.hub_id, settings.revision)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("architecture", "hidden_size", 3584), ("architecture", "model_type", "llama"),
     ("architecture", "tie_word_embeddings", False), ("tokenizer", "length", 151665), ("tokenizer", "eos_id", 7)],
)  # fmt: skip
def test_hub_that_differs_from_what_was_published_is_refused(hub, section, field, value):
    """The error names the field, what was published and what was found; the same holds for a folder."""
    settings = as_published(hub)
    found = getattr(settings, section)[field]
    other = replace(settings, **{section: {**getattr(settings, section), field: value}})
    with pytest.raises(ValueError, match=rf"model\.{section}\.{field}={value}: published, but found {found}"):
        describe(other)


def test_a_folder_that_is_another_backbone_is_refused():
    """model=NAME model.source=folder takes a copy on disk only if its sizes are the published ones."""
    settings = compose("model=qwen2_5_7b", "model.source=folder", f"model.path={files.ASSETS / 'tiny_llama'}").model
    with pytest.raises(
        ValueError, match=r"model_type=qwen2: published, but found llama\n.*hidden_size=3584: published"
    ):
        describe(settings)


def test_published_facts_are_no_part_of_the_identity():
    """For the hub id and revision decide; a corrected fact leaves a run's id as it is, unless weights come from it."""
    content = {"data": "d", "model": None, "retention": None}
    corrected = ("model.architecture.max_position_embeddings=1", "model.tokenizer.length=1")
    assert run_id(compose("model=qwen2_5_3b", *corrected), content) == run_id(compose("model=qwen2_5_3b"), content)
    random = ("model=tiny_qwen2", "model.architecture.hidden_size=32")
    assert run_id(compose(*random), content) != run_id(compose("model=tiny_qwen2"), content)


def test_an_unknown_fact_about_a_tokenizer_is_refused():
    """A misspelt fact would never be checked, so it is named."""
    with pytest.raises(ValueError, match=r"a key of model\.tokenizer=size: must be one of length, bos_id, eos_id"):
        compose("model=llama2_7b", "+model.tokenizer.size=1")
