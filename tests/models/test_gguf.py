"""GGUF files as backbones."""

from pathlib import Path

import pytest
import torch

from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import load_model
from hycam_exp.plan.sizes import shape_of_model
from tests.models.conftest import local

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

WIDTH, INNER, LAYERS, HEADS, KEYS, WORDS = 64, 96, 2, 4, 2, 259


def write_gguf(path: Path) -> dict[str, torch.Tensor]:
    """Write a random Llama of 4 bits a weight with a tokenizer of bytes; its unpacked weights by their GGUF names."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(WORDS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])
    writer.add_token_scores([0.0] * WORDS)
    kinds = gguf.TokenType
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd.weight": (WORDS, WIDTH), "output.weight": (WORDS, WIDTH), "output_norm.weight": (WIDTH,)}
    for i in range(LAYERS):
        keys = WIDTH * KEYS // HEADS
        shapes |= {
            f"blk.{i}.attn_norm.weight": (WIDTH,), f"blk.{i}.ffn_norm.weight": (WIDTH,),
            f"blk.{i}.attn_q.weight": (WIDTH, WIDTH), f"blk.{i}.attn_k.weight": (keys, WIDTH),
            f"blk.{i}.attn_v.weight": (keys, WIDTH), f"blk.{i}.attn_output.weight": (WIDTH, WIDTH),
            f"blk.{i}.ffn_gate.weight": (INNER, WIDTH), f"blk.{i}.ffn_up.weight": (INNER, WIDTH),
            f"blk.{i}.ffn_down.weight": (WIDTH, INNER),
        }  # fmt: skip
    draws, unpacked = torch.Generator().manual_seed(0), {}
    packed = gguf.GGMLQuantizationType.Q4_1
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=draws).numpy()
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            blocks = gguf.quants.quantize(values, packed)
            writer.add_tensor(name, blocks, raw_dtype=packed)
            values = gguf.quants.dequantize(blocks, packed)
        unpacked[name] = torch.tensor(values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unpacked


def test_a_gguf_file_is_a_plain_model_of_its_unpacked_weights(tmp_path):
    """By its own path and by its folder's: the values of its blocks, as parameters that can be trained and saved."""
    unpacked = write_gguf(tmp_path / "model.gguf")
    for path in (tmp_path / "model.gguf", tmp_path):
        settings = local(path)
        backbone = describe(settings)
        model = load_model(backbone, "float32")
        weights = model.state_dict()
        assert torch.equal(weights["model.embed_tokens.weight"], unpacked["token_embd.weight"])
        assert torch.equal(weights["model.layers.1.mlp.down_proj.weight"], unpacked["blk.1.ffn_down.weight"])
        assert torch.equal(weights["lm_head.weight"], unpacked["output.weight"])
        assert {type(m) for m in model.modules() if "proj" in type(m).__name__.lower()} <= {torch.nn.Linear}
        assert all(p.is_floating_point() and p.requires_grad for p in model.parameters())
        assert files.weights_of(settings) == "GGUF Q4_1, dequantised"
        assert (backbone.tokenizer.bos_token_id, backbone.tokenizer.eos_token_id) == (1, 2)
        assert shape_of_model(settings).num_blocks == LAYERS
    model.save_pretrained(tmp_path / "saved")
    backbone.tokenizer.save_pretrained(tmp_path / "saved")
    again = load_model(describe(local(tmp_path / "saved")), "float32").state_dict()
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_a_gguf_files_identity_is_its_content(tmp_path):
    """Another byte is another content; what lies beside the file is not read."""
    file = tmp_path / "model.gguf"
    write_gguf(file)
    first = files.content_hash(local(file))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert files.content_hash(local(file)) == first
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert files.content_hash(local(file)) != first


def test_what_is_no_single_gguf_file_is_named(tmp_path, monkeypatch):
    """None, two, one that is not whole, and one without the package that reads it."""
    file = tmp_path / "a.gguf"
    with pytest.raises(ValueError, match=rf"^model.path={file}: no such file$"):
        describe(local(file))
    file.write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=rf"^model.path={file}: "):
        describe(local(file))
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gguf is not installed; pip install 'hycam-exp\[gguf\]'"):
        describe(local(file))
    (tmp_path / "b.gguf").touch()
    with pytest.raises(ValueError, match=rf"^model.path={tmp_path}: 2 GGUF files.*model.path={file}$"):
        describe(local(tmp_path))
