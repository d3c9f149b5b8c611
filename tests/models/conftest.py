"""A model and its tokenizer in a folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.settings import ModelSettings
from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import load_model


def model_settings(*overrides: str) -> ModelSettings:
    """A run's model."""
    return compose(*overrides).model


def local(folder: Path, *overrides: str) -> ModelSettings:
    """The model that lies in a folder."""
    return model_settings("model=local", f"model.path={folder}", *overrides)


def change_json(file: Path, **fields: Any) -> None:
    """Set fields of a file that holds a mapping; make it where it is not there."""
    there = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**there, **fields}))


@pytest.fixture
def embedded(tmp_path) -> Path:
    """A copy of the embedded backbone."""
    return Path(shutil.copytree(files.ASSETS / "tiny_llama", tmp_path / "embedded"))


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its tokenizer as Hugging Face saves them, for all tests: not to be changed."""
    backbone, folder = describe(model_settings("model=tiny_qwen2")), tmp_path_factory.mktemp("saved")
    load_model(backbone, "float32").save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(saved, tmp_path / "model"))
