"""A model and its tokenizer in a folder."""

from pathlib import Path

import pytest

from hycam_exp.config.settings import ModelSettings, compose
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import load_model


def model_settings(*overrides: str) -> ModelSettings:
    """A run's model."""
    return compose(*overrides).model


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model and its tokenizer as Hugging Face saves them."""
    backbone = describe(model_settings("model=tiny_qwen2"))
    load_model(backbone, "float32").save_pretrained(tmp_path / "model")
    backbone.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"
