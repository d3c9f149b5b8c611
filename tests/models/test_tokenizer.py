"""A folder's tokenizer."""

import json

import pytest

from hycam_exp.models import tokenizer as tokenizers
from hycam_exp.models.backbone import describe
from tests.models.conftest import local, model_settings


def test_a_folders_tokenizer_is_the_one_that_was_saved(folder):
    """The tokenizer keeps its ids whatever the type of the model it lies beside."""
    text = "Below is  an instruction.\n\n### Response: 12 + 3 = 15"
    saved = describe(model_settings("model=tiny_qwen2")).tokenizer
    loaded = describe(model_settings("model=local", f"model.path={folder}")).tokenizer
    assert loaded(text)["input_ids"] == saved(text)["input_ids"]
    assert len(loaded) == len(saved)


def test_a_tokenizer_without_a_pad_token_pads_with_eos(folder):
    """Batches need some id to fill with; the mask tells padding, so EOS serves."""
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    del fields["pad_token"]
    path.write_text(json.dumps(fields))
    backbone = describe(model_settings("model=local", f"model.path={folder}"))
    assert backbone.tokenizer.pad_token_id is None
    assert backbone.pad_id == backbone.tokenizer.eos_token_id


def test_a_sentencepiece_model_alone_asks_for_sentencepiece(folder, monkeypatch):
    """Where the package is missing, the error names it and the file that would do without."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=rf"^model.path={folder}: tokenizer.model .*pip install sentencepiece"
    ) as raised:
        describe(local(folder))
    assert "tokenizer.json" in str(raised.value)
    assert "tiktoken" not in str(raised.value)
