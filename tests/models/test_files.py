"""A backbone's files: what a run depends on."""

import json
import shutil
from dataclasses import replace

import pytest

from hycam_exp.config.settings import compose
from hycam_exp.models import files
from tests.models.conftest import model_settings


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
