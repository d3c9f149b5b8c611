"""Backbones from assets, configs, folders and the hub."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hycam_exp.config.settings import ModelSettings, compose
from hycam_exp.models import backbones
from hycam_exp.plan.sizes import shape_of_model


def settings(*overrides: str) -> ModelSettings:
    return compose(*overrides).model


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model and its tokenizer as Hugging Face saves them."""
    backbone = backbones.describe(settings("model=tiny_qwen2"))
    backbones.load(backbone, "float32").save_pretrained(tmp_path / "model")
    backbone.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["tiny_mistral", "tiny_qwen2"])
def test_a_random_backbone_is_the_same_at_every_load(name):
    """Weights come from the seed alone, and loading leaves the global generator where it was."""
    backbone = backbones.describe(settings(f"model={name}"))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (backbones.load(backbone, "float32", seed=1).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = backbones.load(backbone, "float32", seed=2).state_dict()
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_folder_gives_its_weights_and_tokenizer(folder):
    """model=local loads what save_pretrained wrote, bit for bit."""
    local = settings("model=local", f"model.path={folder}")
    model = backbones.load(backbones.describe(local), "float32")
    original = backbones.load(backbones.describe(settings("model=tiny_qwen2")), "float32")
    for key, value in original.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_a_folders_tokenizer_is_the_one_that_was_saved(folder):
    """The tokenizer keeps its ids whatever the type of the model it lies beside."""
    text = "Below is  an instruction.\n\n### Response: 12 + 3 = 15"
    saved = backbones.describe(settings("model=tiny_qwen2")).tokenizer
    loaded = backbones.describe(settings("model=local", f"model.path={folder}")).tokenizer
    assert loaded(text)["input_ids"] == saved(text)["input_ids"]
    assert len(loaded) == len(saved)


def test_a_folders_identity_is_its_content(folder, tmp_path):
    """Moving a folder keeps its hash; another weight, config or tokenizer changes it; other files do not."""
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    local = settings("model=local", f"model.path={folder}")
    elsewhere = replace(local, path=str(moved))
    first = backbones.content_hash(local)
    assert backbones.content_hash(elsewhere) == first
    (moved / "README.md").write_text("notes")
    assert backbones.content_hash(elsewhere) == first
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rope_theta": 5.0}))
    assert backbones.content_hash(elsewhere) != first


@pytest.mark.parametrize("content", ['{"a": ', "[]", "3", "\xff"])
@pytest.mark.parametrize("name", backbones.DESCRIPTIONS)
def test_a_broken_description_is_named(tmp_path, name, content):
    """Each JSON file of a folder must hold a mapping; one that does not is an error with its path, by run and plan."""
    folder = tmp_path / "model"
    shutil.copytree(backbones.ASSETS / "tiny_llama", folder)
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"^{folder / name}: (no JSON|holds a (list|int) where)"):
        backbones.describe(settings("model=local", f"model.path={folder}"))
    if name == "config.json":
        with pytest.raises(ValueError, match=rf"^{folder / name}: "):
            shape_of_model(settings("model=local", f"model.path={folder}"))


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
    shutil.copytree(backbones.ASSETS / "tiny_llama", folder)
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"^model.path={folder}: {message}$"):
        backbones.describe(settings("model=local", f"model.path={folder}"))


def test_a_tokenizer_without_a_pad_token_pads_with_eos(folder):
    """Batches need some id to fill with; the mask tells padding, so EOS serves."""
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    del fields["pad_token"]
    path.write_text(json.dumps(fields))
    backbone = backbones.describe(settings("model=local", f"model.path={folder}"))
    assert backbone.tokenizer.pad_token_id is None
    assert backbone.pad_id == backbone.tokenizer.eos_token_id


def test_a_folder_without_weights_is_refused_before_loading(folder):
    """The error names the folder and what is missing."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=rf"model\.path={folder}: no weights there"):
        backbones.describe(settings("model=local", f"model.path={folder}"))


def test_a_truncated_weights_file_is_an_error_that_names_the_folder(folder):
    """Half a file is never half a model."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    backbone = backbones.describe(settings("model=local", f"model.path={folder}"))
    with pytest.raises(ValueError, match=rf"model\.path={folder}"):
        backbones.load(backbone, "float32")


def test_a_folder_without_a_tokenizer_is_refused(folder):
    """The error names the folder."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ValueError, match=rf"model\.path={folder}"):
        backbones.describe(settings("model=local", f"model.path={folder}"))


def test_an_unreachable_hub_names_the_id_and_the_two_ways_out(monkeypatch, tmp_path):
    """Without weights and network the error says what was tried, and what the user can do."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"meta-llama/Meta-Llama-3-8B at revision 8cde5ca8") as raised:
        backbones.describe(settings("model=llama3_8b"))
    assert "model.source=folder model.path=DIR" in str(raised.value)
    assert "hf auth login" in str(raised.value)


def test_examine_says_everything_that_is_missing_at_once(tmp_path):
    """A missing folder and a missing GPU are two lines of one error."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    run = compose("model=local", f"model.path={tmp_path}", "trainer=gpu")
    with pytest.raises(ValueError, match=r"no config\.json there.*\n.*torch finds no GPU"):
        backbones.examine(run.model, run.trainer, run.recipe.precision)


def test_frozen_weights_of_mixed_precision_are_bfloat16_and_trained_ones_float32():
    """Only what stays fixed is kept in half precision."""
    assert backbones.weight_dtype("bf16_mixed", trained=False) == "bfloat16"
    assert backbones.weight_dtype("bf16_mixed", trained=True) == "float32"
    assert backbones.weight_dtype("float64", trained=False) == "float64"


def test_the_embedded_backbone_is_small_pretrained_and_bfloat16():
    """1 to 3 million parameters, a vocabulary of 2,000 to 4,000, weights in bfloat16 under 8 MB."""
    from safetensors import safe_open

    folder = backbones.ASSETS / "tiny_llama"
    backbone = backbones.describe(settings("model=tiny_llama"))
    model = backbones.load(backbone, "float32")
    assert 1_000_000 <= sum(p.numel() for p in model.parameters()) <= 3_000_000
    assert 2_000 <= len(backbone.tokenizer) <= 4_000
    assert (folder / "model.safetensors").stat().st_size < 8_000_000
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118


def test_a_general_text_is_found_among_the_assets_or_by_path(tmp_path):
    """The embedded backbones' text lies in the package; any file serves; a missing one is None."""
    embedded = settings("model=tiny_llama")
    assert backbones.retention_path(embedded) == backbones.ASSETS / "tiny_llama" / "retention.txt"
    text = tmp_path / "text.txt"
    text.write_text("words")
    assert backbones.retention_path(replace(embedded, retention_text=str(text))) == text
    assert backbones.retention_path(replace(compose("model=llama3_8b").model, retention_text="nowhere.txt")) is None
    with pytest.raises(ValueError, match=r"model.retention_text=nowhere.txt: no such file; null measures no retention"):
        backbones.retention_path(replace(embedded, retention_text="nowhere.txt"))


def test_four_bits_are_nf4_computed_in_the_weights_dtype():
    """The config for transformers: NF4, with the recipe's dtype for products."""
    config = backbones.quantization("bfloat16")
    assert config.load_in_4bit
    assert config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_compute_dtype is torch.bfloat16


def test_four_bits_need_a_gpu_and_the_package(monkeypatch):
    """Each lack is named with the way out, before any weight is read."""
    on_cpu = compose("model.quantize=nf4")
    with pytest.raises(ValueError, match=r"model.quantize=nf4: needs a GPU"):
        backbones.check_quantize(on_cpu.model, on_cpu.trainer)
    monkeypatch.setattr(backbones, "find_spec", lambda name: None)
    on_gpu = compose("model.quantize=nf4", "trainer=gpu")
    with pytest.raises(ValueError, match=r"bitsandbytes is not installed; pip install 'hycam-exp\[quantize\]'"):
        backbones.check_quantize(on_gpu.model, on_gpu.trainer)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=full_ft", "four bits cannot be trained"),
        ("method=multi_lora", "wraps floating-point linear layers only"),
        ("trainer=fsdp", "trainer.strategy=fsdp cannot cut it up"),
        ("model=tiny_qwen2", "needs weights to read"),
        ("model.quantize=int3", "must be null or nf4"),
    ],
)
def test_four_bits_where_they_cannot_be(override, message):
    """The config itself is refused."""
    with pytest.raises(ValueError, match=f"model.quantize=.*{message}"):
        compose("model.quantize=nf4", override)
