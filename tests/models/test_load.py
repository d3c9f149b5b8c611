"""Weights from assets, configs and folders."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from hycam_exp.config.compose import compose
from hycam_exp.models import files, load
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import check_weights, load_model, weight_dtype
from tests.models.conftest import change_json, local, model_settings


@pytest.mark.parametrize("name", ["tiny_mistral", "tiny_qwen2"])
def test_a_random_backbone_is_the_same_at_every_load(name):
    """Weights come from the seed alone, and loading leaves the global generator where it was."""
    backbone = describe(model_settings(f"model={name}"))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (load_model(backbone, "float32", seed=1).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = load_model(backbone, "float32", seed=2).state_dict()
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_folder_gives_its_weights_and_tokenizer(folder):
    """model=local loads what save_pretrained wrote, bit for bit."""
    local = model_settings("model=local", f"model.path={folder}")
    model = load_model(describe(local), "float32")
    original = load_model(describe(model_settings("model=tiny_qwen2")), "float32")
    for key, value in original.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_a_truncated_weights_file_is_an_error_that_names_the_folder(folder):
    """Half a file is never half a model."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    backbone = describe(model_settings("model=local", f"model.path={folder}"))
    with pytest.raises(ValueError, match=rf"model\.path={folder}"):
        load_model(backbone, "float32")


def test_frozen_weights_of_mixed_precision_are_bfloat16_and_trained_ones_float32():
    """Only what stays fixed is kept in half precision."""
    assert weight_dtype("bf16_mixed", trained=False) == "bfloat16"
    assert weight_dtype("bf16_mixed", trained=True) == "float32"
    assert weight_dtype("float64", trained=False) == "float64"


def test_the_embedded_backbone_is_small_pretrained_and_bfloat16():
    """1 to 3 million parameters, a vocabulary of 2,000 to 4,000, weights in bfloat16 under 8 MB."""
    from safetensors import safe_open

    folder = files.ASSETS / "tiny_llama"
    backbone = describe(model_settings("model=tiny_llama"))
    model = load_model(backbone, "float32")
    assert 1_000_000 <= sum(p.numel() for p in model.parameters()) <= 3_000_000
    assert 2_000 <= len(backbone.tokenizer) <= 4_000
    assert (folder / "model.safetensors").stat().st_size < 8_000_000
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118


def test_four_bits_are_nf4_computed_in_the_weights_dtype():
    """The config for transformers: NF4, with the recipe's dtype for products."""
    config = load.quantization("bfloat16")
    assert config.load_in_4bit
    assert config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_compute_dtype is torch.bfloat16


def test_four_bits_need_a_gpu_and_the_package(monkeypatch):
    """Each lack is named with the way out, before any weight is read."""
    on_cpu = compose("model.quantize=nf4")
    with pytest.raises(ValueError, match=r"model.quantize=nf4: needs a GPU"):
        load.check_quantize(on_cpu.model, on_cpu.trainer)
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    on_gpu = compose("model.quantize=nf4", "trainer=gpu")
    with pytest.raises(ValueError, match=r"bitsandbytes is not installed; pip install 'hycam-exp\[quantize\]'"):
        load.check_quantize(on_gpu.model, on_gpu.trainer)


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


Q = "model.layers.0.self_attn.q_proj.weight"
DIFFERENCES = {
    "missing": (lambda w: {k: v for k, v in w.items() if k != Q}, {}, rf"1 missing \({Q}\); save config and weights"),
    "misshapen": (
        lambda w: {**w, Q: w[Q][:5].contiguous()}, {}, rf"1 misshapen \({Q} \(\(5, 128\), not \(128, 128\)\)\)",
    ),
    "fewer layers": (lambda w: w, {"num_hidden_layers": 5}, r"9 unexpected \(model.layers.5.input_layernorm.weight, "),
    "more layers": (lambda w: w, {"num_hidden_layers": 7}, r"9 missing \(model.layers.6.input_layernorm.weight, "),
    "head absent": (lambda w: w, {"tie_word_embeddings": False}, r"1 missing \(lm_head.weight\)"),
    "compiled": (
        lambda w: {f"_orig_mod.{k}": v for k, v in w.items()}, {}, r"57 missing.*56 unexpected.*save model._orig_mod$",
    ),
    "parallel": (lambda w: {f"module.{k}": v for k, v in w.items()}, {}, r"56 unexpected.*save model.module$"),
    "peft": (
        lambda w: {f"base_model.model.{k}": v for k, v in w.items()}, {}, r"56 unexpected.*model.merge_and_unload\(\)$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("quantize", ["null", "nf4"])
@pytest.mark.parametrize("stored_as", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", DIFFERENCES)
def test_weights_that_are_not_the_configs_are_named(embedded, kind, stored_as, quantize):
    """Missing, unexpected and misshapen tensors by name, in one line, with the way out; also before quantising."""
    change, fields, message = DIFFERENCES[kind]
    store(change(load_file(embedded / "model.safetensors")), embedded, stored_as)
    change_json(embedded / "config.json", **fields)
    backbone = describe(local(embedded, f"model.quantize={quantize}", "trainer.accelerator=gpu"))
    with pytest.raises(ValueError, match=rf"^model.path={embedded}: the weights are not those.*{message}") as raised:
        check_weights(backbone)
    assert "\n" not in str(raised.value)
    if quantize == "null":
        with pytest.raises(ValueError, match=message):
            load_model(backbone, "float32")


def test_a_head_of_its_own_that_the_config_ties_is_refused(embedded):
    """transformers would leave it apart: the error says which field lets it be so."""
    weights = load_file(embedded / "model.safetensors")
    store({**weights, "lm_head.weight": weights["model.embed_tokens.weight"] + 1}, embedded, "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"^model.path={embedded}: the weights .*; tie_word_embeddings=false in config"
    ):
        load_model(describe(local(embedded)), "float32")


def store(weights: dict[str, torch.Tensor], folder: Path, name: str) -> None:
    """Put weights in place of those of a folder."""
    (folder / "model.safetensors").unlink()
    if name.endswith(".bin"):
        torch.save(weights, folder / name)
    else:
        save_file(weights, folder / name, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "extra",
    [{}, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)}, {"lm_head.weight": None}],
    ids=["as saved", "rotary frequencies", "the tied head too"],
)
def test_weights_that_only_look_different_are_read(embedded, extra, capfd):
    """Tied weights once or twice, and the buffers of old checkpoints, are what the config says: not a word."""
    weights = load_file(embedded / "model.safetensors")
    added = {name: weights["model.embed_tokens.weight"].clone() if v is None else v for name, v in extra.items()}
    store({**weights, **added}, embedded, "model.safetensors")
    backbone = describe(local(embedded))
    check_weights(backbone)
    model = load_model(backbone, "bfloat16")
    assert torch.equal(model.get_output_embeddings().weight, weights["model.embed_tokens.weight"])
    assert capfd.readouterr().err == ""


def test_an_adapter_that_comes_with_the_weights_is_refused(embedded, monkeypatch):
    """On the hub, where the folder cannot be looked at first: what transformers has attached is seen."""
    backbone = describe(local(embedded))
    model = load_model(backbone, "float32")
    model.add_adapter(LoraConfig(target_modules=["q_proj"]))
    model.save_pretrained(embedded)
    with pytest.raises(ValueError, match=rf"^{embedded}/adapter_config.json: an adapter beside the weights"):
        load_model(backbone, "float32")
