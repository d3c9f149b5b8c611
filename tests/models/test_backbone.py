"""Backbones from folders and the hub, before their weights."""

import json
import shutil

import pytest
import torch

from hycam_exp.config.settings import compose
from hycam_exp.models import files
from hycam_exp.models.backbone import describe, examine
from hycam_exp.plan.shape import shape_of_model
from tests.models.conftest import model_settings


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
