"""Backbones from folders and the hub, before their weights."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig

from hycam_exp.config.compose import compose
from hycam_exp.models import files
from hycam_exp.models.backbone import describe, examine
from hycam_exp.models.load import load_model
from hycam_exp.plan.sizes import shape_of_model
from tests.models.conftest import change_json, local, model_settings


@pytest.mark.parametrize("content", ['{"a": ', "[]", "3", "\xff"])
@pytest.mark.parametrize("name", files.DESCRIPTIONS)
def test_a_broken_description_is_named(tmp_path, name, content):
    """Each JSON file of a folder must hold a mapping; one that does not is an error with its path, by run and plan."""
    folder = tmp_path / "model"
    shutil.copytree(files.ASSETS / "tiny_llama", folder)
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"^{folder / name}: (no JSON|holds a (list|int) where)"):
        describe(model_settings("model=local", f"model.path={folder}"))
    if name == "config.json":
        with pytest.raises(ValueError, match=rf"^{folder / name}: "):
            shape_of_model(model_settings("model=local", f"model.path={folder}"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {}, "Unrecognized model in .*"),
        ("config.json", {"model_type": "llama", "hidden_size": "x"}, r"Strict.*'hidden_size': TypeError: .* got str.*"),
        ("tokenizer.json", {}, "KeyError: 'added_tokens'"),
    ],
)
def test_what_the_libraries_cannot_read_is_one_line(tmp_path, name, content, message):
    """Whatever class their error is of: the folder, and what they said."""
    folder = tmp_path / "model"
    shutil.copytree(files.ASSETS / "tiny_llama", folder)
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"^model.path={folder}: {message}$"):
        describe(model_settings("model=local", f"model.path={folder}"))


def test_a_folder_without_weights_is_refused_before_loading(folder):
    """The error names the folder and what is missing."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=rf"model\.path={folder}: no weights there"):
        describe(model_settings("model=local", f"model.path={folder}"))


def test_a_folder_without_a_tokenizer_is_refused(folder):
    """The error names the folder."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ValueError, match=rf"model\.path={folder}"):
        describe(model_settings("model=local", f"model.path={folder}"))


def test_an_unreachable_hub_names_the_id_and_the_two_ways_out(monkeypatch, tmp_path):
    """Without weights and network the error says what was tried, and what the user can do."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"meta-llama/Meta-Llama-3-8B at revision 8cde5ca8") as raised:
        describe(model_settings("model=llama3_8b"))
    assert "model.source=folder model.path=DIR" in str(raised.value)
    assert "hf auth login" in str(raised.value)


def test_examine_says_everything_that_is_missing_at_once(tmp_path):
    """A missing folder and a missing GPU are two lines of one error."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    run = compose("model=local", f"model.path={tmp_path}", "trainer=gpu")
    with pytest.raises(ValueError, match=r"no config\.json there.*\n.*torch finds no GPU"):
        examine(run.model, run.trainer, run.recipe.precision)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_weights_that_are_stored_quantised_are_refused(embedded, method):
    """Whatever the method: its name, the file that says so, and what can be given instead."""
    change_json(embedded / "config.json", quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True})
    message = rf"^model.path={embedded}: config.json has a quantization_config \({method}\).*model.quantize=nf4.*$"
    with pytest.raises(ValueError, match=message):
        describe(local(embedded))


@pytest.mark.parametrize("model_type", ["llava", "qwen2_5_vl", "gemma3", "mllama"])
def test_a_model_of_several_modalities_is_refused(embedded, model_type):
    """Its model type and its other parts are named, and that the language model alone would do."""
    AutoConfig.for_model(model_type).save_pretrained(embedded)
    message = (
        rf"^model.path={embedded}: config.json has model_type={model_type}, .*vision_config.*language model alone.*$"
    )
    with pytest.raises(ValueError, match=message):
        describe(local(embedded))


@pytest.mark.parametrize("model_type", ["t5", "vit"])
def test_a_model_without_a_causal_head_is_refused(embedded, model_type):
    """Its model type is named."""
    AutoConfig.for_model(model_type).save_pretrained(embedded)
    with pytest.raises(
        ValueError, match=rf"model_type={model_type}, of which transformers has no causal.*give a decoder"
    ):
        describe(local(embedded))


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig"}}),
        ("tokenizer_config.json", {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}),
    ],
)
def test_code_beside_a_backbone_is_never_asked_for_nor_executed(embedded, monkeypatch, file, fields):
    """A folder that needs it is refused in one line; nothing is read from the terminal."""
    (embedded / "mine.py").write_text(f"open({str(embedded / 'executed')!r}, 'w')")
    change_json(embedded / file, **fields)
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("the user was asked"))
    with pytest.raises(
        ValueError, match=rf"^model.path={embedded}: needs code of its own \(auto_map.*never executed.*$"
    ):
        describe(local(embedded))
    assert not (embedded / "executed").exists()


def test_code_beside_a_backbone_that_needs_none_is_left_alone(embedded):
    """A model type that transformers knows is built from transformers, whatever auto_map says."""
    (embedded / "mine.py").write_text(f"open({str(embedded / 'executed')!r}, 'w')")
    auto_map = {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"}
    change_json(embedded / "config.json", auto_map=auto_map)
    model = load_model(describe(local(embedded)), "float32")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not (embedded / "executed").exists()


def test_a_family_without_an_attention_implementation_names_the_one_that_it_has(embedded):
    """GPT-J knows no sdpa: the error names model.attention=eager, with which it goes on."""
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "rotary_dim": 8, "vocab_size": 2048}
    AutoConfig.for_model("gptj", **sizes).save_pretrained(embedded)
    with pytest.raises(ValueError, match=r"^model.attention=sdpa: model_type=gptj .* model.attention=eager is always"):
        describe(local(embedded))
    assert describe(local(embedded, "model.attention=eager")).config.model_type == "gptj"


@pytest.mark.parametrize("kind", ["eos", "chat", "text"])
def test_a_token_beyond_the_embedding_is_named(embedded, kind):
    """EOS, a special token of a chat template, and a word: with id, number of rows, and the two ways out."""
    tokenizer = describe(local(embedded)).tokenizer
    tokenizer.add_special_tokens({"eos_token": "<|new|>"} if kind == "eos" else {})
    tokenizer.add_tokens(["<|new|>"], special_tokens=kind == "chat")
    tokenizer.save_pretrained(embedded)
    message = rf"^model.path={embedded}: the tokenizer has 1 tokens beyond the 2048 rows.*'<\|new\|>' \(2048\); enlarge"
    with pytest.raises(ValueError, match=message):
        describe(local(embedded))
    change_json(embedded / "config.json", vocab_size=2049)
    assert describe(local(embedded)).config.vocab_size == 2049


def test_a_pad_token_beyond_the_embedding_is_none(embedded):
    """A pad token of the library's own is in no text: batches are filled with EOS, which has a row."""
    tokenizer = describe(local(embedded)).tokenizer
    tokenizer.add_special_tokens({"pad_token": "[NEW]"})
    tokenizer.save_pretrained(embedded)
    backbone = describe(local(embedded))
    assert backbone.tokenizer.pad_token_id == 2048
    assert backbone.pad_id == backbone.tokenizer.eos_token_id
