"""A backbone's tokenizer: as it was saved, and with no id for which the embedding has no row."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import folder, gguf_file, json_fields, named, origin, unavailable, where

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hycam_exp.config.settings import ModelSettings


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """The tokenizer of a backbone, or the one that a random backbone borrows.

    Raises:
        ValueError: it cannot be read, or its only file needs a package that is not installed.
    """
    path = folder(settings) if gguf_file(settings) is None else None
    if path is not None:
        _check_sentencepiece(settings, path)
    try:
        tokenizer: PreTrainedTokenizerBase = _tokenizer_class(path).from_pretrained(origin(settings), **where(settings))
    except Exception as error:  # the libraries' errors about broken files share no base class
        raise ValueError(unavailable(settings, error)) from error
    return tokenizer


def _check_sentencepiece(settings: ModelSettings, path: Path) -> None:
    readable = any((path / name).is_file() for name in ("tokenizer.json", "vocab.json", "vocab.txt"))
    if (path / "tokenizer.model").is_file() and not readable and find_spec("sentencepiece") is None:
        raise ValueError(
            f"{named(settings)}: tokenizer.model lies there without tokenizer.json, and sentencepiece, which "
            "reads it, is not installed; pip install sentencepiece protobuf, or add the model's tokenizer.json"
        )


def _tokenizer_class(path: Path | None) -> Any:
    """The plain class for a tokenizer that was saved as such.

    AutoTokenizer goes by the model's type instead, and would build, say, a Qwen2 tokenizer from another's vocabulary.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    described = path / "tokenizer_config.json" if path else None
    if described is None or not described.is_file():
        return AutoTokenizer
    saved = json_fields(described).get("tokenizer_class")
    return PreTrainedTokenizerFast if saved in ("TokenizersBackend", "PreTrainedTokenizerFast") else AutoTokenizer


def ids_beyond(tokenizer: PreTrainedTokenizerBase, rows: int) -> list[tuple[str, int]]:
    """The tokens, with their ids in rising order, for which an embedding of `rows` rows has none.

    A pad token that is not EOS is left out: transformers may add one of its own, and no text has it.
    """
    padding = {tokenizer.pad_token_id} - {tokenizer.eos_token_id}
    beyond = [(token, i) for token, i in tokenizer.get_vocab().items() if i >= rows and i not in padding]
    return sorted(beyond, key=lambda pair: pair[1])
