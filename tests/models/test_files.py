"""A backbone's files: what a run depends on."""

import json
import shutil
from dataclasses import replace

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from tests.models.conftest import local, model_settings


def test_a_folders_identity_is_its_content(folder, tmp_path):
    """Moving a folder keeps its hash; another weight, config or tokenizer changes it; other files do not."""
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    local = model_settings("model=local", f"model.path={folder}")
    elsewhere = replace(local, path=str(moved))
    first = files.content_hash(local)
    assert files.content_hash(elsewhere) == first
    (moved / "README.md").write_text("notes")
    assert files.content_hash(elsewhere) == first
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rope_theta": 5.0}))
    assert files.content_hash(elsewhere) != first


@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "additional_chat_templates/tools.jinja", "chat_templates/tools.jinja", "merges.txt",
     "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt",
     "tokenizer_config.json", "tokenizer.json", "tekken.json", "qwen.tiktoken", "spiece.model",
     "generation_config.json", "model.safetensors.index.json"],
)  # fmt: skip
def test_every_file_that_decides_tokens_or_weights_is_part_of_the_identity(embedded, name):
    """To add it, and to change one character of it, is another content; for a random backbone too if it is tokens."""
    settings = local(embedded)
    random = replace(model_settings("model=tiny_qwen2"), path=str(embedded))  # an absolute path stands beside assets
    seen = [(files.content_hash(settings), files.content_hash(random))]
    for text in ("{}", "{ }"):
        (embedded / name).parent.mkdir(exist_ok=True)
        (embedded / name).write_text(text)
        seen.append((files.content_hash(settings), files.content_hash(random)))
    own, borrowed = zip(*seen, strict=True)
    assert len(set(own)) == 3
    assert len(set(borrowed)) == (1 if name in ("generation_config.json", "model.safetensors.index.json") else 3)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer.model"])
def test_a_git_lfs_pointer_is_called_so(embedded, name):
    """Wherever a pointer lies in place of a file, the error names the file, Git LFS, and what fetches it."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 2469\n"
    (embedded / name).write_text(pointer)
    with pytest.raises(ValueError, match=rf"^{embedded / name}: a Git LFS pointer .*`git lfs pull` in {embedded} "):
        describe(local(embedded))


def test_an_adapter_beside_the_weights_is_refused_with_the_way_to_merge_it(embedded):
    """transformers would load it by itself; the error names the file and both ways out."""
    (embedded / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ValueError, match=rf"^{embedded}/adapter_config.json: an adapter beside.*merge_and_unload") as e:
        describe(local(embedded))
    assert "move adapter_config.json" in str(e.value)
    assert "\n" not in str(e.value)


def test_an_adapter_alone_is_no_backbone(tmp_path):
    """The error says what lies there instead."""
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"^model.path={tmp_path}: no config.json there.*it holds an adapter: merge"):
        describe(local(tmp_path))


def test_a_general_text_is_found_among_the_assets_or_by_path(tmp_path):
    """The embedded backbones' text lies in the package; any file serves; a missing one is None."""
    embedded = model_settings("model=tiny_llama")
    assert files.retention_path(embedded) == files.ASSETS / "tiny_llama" / "retention.txt"
    text = tmp_path / "text.txt"
    text.write_text("words")
    assert files.retention_path(replace(embedded, retention_text=str(text))) == text
    assert files.retention_path(replace(compose("model=llama3_8b").model, retention_text="nowhere.txt")) is None
    with pytest.raises(ValueError, match=r"model.retention_text=nowhere.txt: no such file; null measures no retention"):
        files.retention_path(replace(embedded, retention_text="nowhere.txt"))
