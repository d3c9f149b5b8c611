"""A backbone's tokenizer, as it was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hycam_exp.models.files import json_fields


def tokenizer_class(path: Path | None) -> Any:
    """The plain class for a tokenizer that was saved as such.

    AutoTokenizer goes by the model's type instead, and would build, say, a Qwen2 tokenizer from another's vocabulary.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    described = path / "tokenizer_config.json" if path else None
    if described is None or not described.is_file():
        return AutoTokenizer
    saved = json_fields(described).get("tokenizer_class")
    return PreTrainedTokenizerFast if saved in ("TokenizersBackend", "PreTrainedTokenizerFast") else AutoTokenizer
