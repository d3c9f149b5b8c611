"""A backbone's files on this machine: its folder, what of it decides a run, and their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hycam_exp.config.settings import ModelSettings

ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS = (".safetensors", ".bin")
SETTINGS_FILE = "run.json"  # beside a saved adapter: the settings of the run that made it
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
DESCRIPTIONS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")  # mappings in JSON
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json")


def folder(settings: ModelSettings) -> Path | None:
    """Where a backbone's files lie on this machine; None for the hub.

    Raises:
        ValueError: the folder is missing, or holds no config.
    """
    if settings.source == "hub":
        return None
    assert settings.path is not None, "checked by ModelSettings"
    path = Path(settings.path) if settings.source == "folder" else ASSETS / settings.path
    if not (path / "config.json").is_file():
        raise ValueError(f"model.path={path}: no config.json there (a folder in Hugging Face form is needed)")
    return path


def json_fields(file: Path) -> dict[str, Any]:
    """The fields of a backbone's JSON file.

    Raises:
        ValueError: it holds no mapping; names the file.
    """
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: no JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{file}: holds a {type(fields).__name__} where a mapping of fields is needed")
    return fields


def retention_path(settings: ModelSettings) -> Path | None:
    """The general text whose perplexity is followed; None where none is asked for, or the hub's was not fetched yet.

    Raises:
        ValueError: there is no such file.
    """
    if settings.retention_text is None:
        return None
    found = [path for path in (Path(settings.retention_text), ASSETS / settings.retention_text) if path.is_file()]
    if not found and settings.hub_id is None:
        raise ValueError(f"model.retention_text={settings.retention_text}: no such file; null measures no retention")
    return found[0] if found else None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(settings: ModelSettings) -> str | None:
    """SHA-256 over config, tokenizer and weights of a backbone on disk; None for the hub, where the revision tells."""
    path = folder(settings)
    if path is None:
        return None
    sha = hashlib.sha256()
    for file in _decisive_files(settings, path):
        sha.update(f"{file.name} {file_hash(file)}\n".encode())
    return sha.hexdigest()


def contents(settings: ModelSettings) -> dict[str, str | None]:
    """The hashes of what a run reads beside its data, for its id: of the backbone and of the retention text.

    Raises:
        ValueError: the backbone's folder is missing.
    """
    text = retention_path(settings)
    return {"model": content_hash(settings), "retention": file_hash(text) if text else None}


def _decisive_files(settings: ModelSettings, path: Path) -> Iterator[Path]:
    for file in sorted(path.iterdir()):
        if file.name in TOKENIZER_FILES or (settings.source != "random" and _is_model_file(file)):
            yield file


def _is_model_file(file: Path) -> bool:
    return file.name in ("config.json", "generation_config.json") or file.suffix in WEIGHTS


def unavailable(settings: ModelSettings, origin: str, error: Exception) -> str:
    """In one line why a library could not read a backbone, and for the hub's what to do."""
    first, _, rest = str(error).partition("\n")
    reason = f"{first} {rest.strip().partition(chr(10))[0]}" if first.endswith(":") else first
    if not isinstance(error, OSError | ValueError | RuntimeError):  # whose text alone may say nothing
        reason = f"{type(error).__name__}: {reason}"
    if settings.source != "hub":
        return f"model.path={origin}: {reason}"
    return (
        f"model={settings.name}: {origin} at revision {settings.revision} is neither in the local hub cache nor could "
        f"it be downloaded ({reason}); either give a copy of it (model.source=folder model.path=DIR), or log in to the "
        f"hub with an account that may read it (hf auth login) and run again with network"
    )
