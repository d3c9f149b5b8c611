"""A backbone's files on this machine: its folder, what of it decides a run, and their content."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hycam_exp.config.settings import ModelSettings
from hycam_exp.runtime.files import refuse_pointer

ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS = (".safetensors", ".bin")
SETTINGS_FILE = "run.json"  # beside a saved adapter: the settings of the run that made it
ADAPTER_FILE = "adapter_config.json"
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
DESCRIPTIONS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
"""Files that hold a mapping in JSON."""
DECIDE_TOKENS = (
    "tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "tekken.json",
    "*.model", "*.tiktoken", "chat_templates/*", "additional_chat_templates/*",
)  # fmt: skip
"""Patterns of every file from which transformers builds a tokenizer or its chat templates."""
DECIDE_MODEL = ("config.json", "generation_config.json", "*.index.json", *(f"*{ending}" for ending in WEIGHTS))
"""The generation config decides where decoding ends; an index which of the weights are read."""
ORIGIN_FILE = "origin.json"  # {"weights": ...}: where weights come from that are not what their authors published


def folder(settings: ModelSettings) -> Path | None:
    """Where a backbone's files lie on this machine; None for the hub.

    Raises:
        ValueError: the folder is missing, or holds no config.
    """
    if settings.source == "hub":
        return None
    assert settings.path is not None, "checked by ModelSettings"
    path = Path(settings.path) if settings.source == "folder" else ASSETS / settings.path
    packed = gguf_file(settings)
    if packed is not None:
        return packed.parent
    if not (path / "config.json").is_file():
        raise ValueError(
            f"model.path={path}: no config.json there (a folder in Hugging Face form is needed){_adapter_alone(path)}"
        )
    return path


def gguf_file(settings: ModelSettings) -> Path | None:
    """The GGUF file that is the whole backbone: `model.path`, or the one in a folder that has no config.json.

    Raises:
        ValueError: the file is missing, or there are several.
    """
    if settings.source != "folder":
        return None
    assert settings.path is not None, "checked by ModelSettings"
    path = Path(settings.path)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"model.path={path}: no such file")
        return path
    found = [] if (path / "config.json").is_file() else sorted(path.glob("*.gguf"))
    if len(found) > 1:
        raise ValueError(
            f"model.path={path}: {len(found)} GGUF files are there; name one of them: model.path={found[0]}"
        )
    return found[0] if found else None


def weights_of(settings: ModelSettings) -> str | None:
    """Where a backbone's weights come from, for its record: the hub's revision, or the GGUF file that was unpacked.

    None for weights of which nothing more is known than their content.
    """
    if settings.source == "hub":
        return f"{settings.hub_id}@{settings.revision}"
    packed, path = gguf_file(settings), folder(settings)
    if packed is not None:
        from hycam_exp.models.gguf import described

        return described(packed)
    assert path is not None, "only a hub's model has no folder"
    noted = path / ORIGIN_FILE
    return str(json_fields(noted)["weights"]) if settings.source != "random" and noted.is_file() else None


def _adapter_alone(path: Path) -> str:
    alone = (path / ADAPTER_FILE).is_file()
    return "; it holds an adapter: merge it into its base model, and give that" if alone else ""


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
        sha.update(f"{file.relative_to(path).as_posix()} {file_hash(file)}\n".encode())
    return sha.hexdigest()


def contents(settings: ModelSettings) -> dict[str, str | None]:
    """The hashes of what a run reads beside its data, for its id: of the backbone and of the retention text.

    Raises:
        ValueError: the backbone's folder is missing.
    """
    text = retention_path(settings)
    return {"model": content_hash(settings), "retention": file_hash(text) if text else None}


def _decisive_files(settings: ModelSettings, path: Path) -> list[Path]:
    packed = gguf_file(settings)
    if packed is not None:
        return [packed]
    patterns = DECIDE_TOKENS if settings.source == "random" else (*DECIDE_TOKENS, *DECIDE_MODEL)
    return sorted({file for pattern in patterns for file in path.glob(pattern) if file.is_file()})


def check_files(settings: ModelSettings, path: Path) -> None:
    """Look at a backbone's folder before any library does.

    Raises:
        ValueError: a file is a Git LFS pointer or holds no mapping, or the folder has no tokenizer or no weights, or an
            adapter beside its weights.
    """
    for file in _decisive_files(settings, path):
        refuse_pointer(file)
    if gguf_file(settings) is not None:
        if find_spec("gguf") is None:
            raise ValueError(f"model.path={settings.path}: gguf is not installed; pip install 'hycam-exp[gguf]'")
        return
    for file in [path / name for name in DESCRIPTIONS if (path / name).is_file()]:
        json_fields(file)
    if not any((path / name).is_file() for name in VOCABULARIES):
        raise ValueError(f"model.path={path}: no tokenizer there ({', '.join(VOCABULARIES)})")
    if settings.source == "random":
        return
    if (path / ADAPTER_FILE).is_file():
        raise adapter_beside_weights(f"{path / ADAPTER_FILE}")
    if not any(file.suffix in WEIGHTS for file in path.iterdir()):
        raise ValueError(f"model.path={path}: no weights there (*.safetensors or *.bin)")


def adapter_beside_weights(where: str) -> ValueError:
    """The refusal of an adapter that transformers would load together with the weights, for some methods unseen."""
    return ValueError(
        f"{where}: an adapter beside the weights of a backbone would be part of it for some methods only; merge it "
        "(peft: PeftModel.from_pretrained(model, DIR).merge_and_unload().save_pretrained(NEW_DIR)) and give NEW_DIR, "
        f"or move {ADAPTER_FILE} and the adapter's weights away"
    )


def origin(settings: ModelSettings) -> str:
    """What transformers reads a backbone from: a folder, or an id on the hub."""
    return str(folder(settings) or settings.hub_id)


def where(settings: ModelSettings) -> dict[str, Any]:
    """How it is read: at its revision, and without ever asking for, or executing, code that lies beside it."""
    place: dict[str, Any] = {"revision": settings.revision} if settings.source == "hub" else {}
    packed = gguf_file(settings)
    if packed is not None:
        place["gguf_file"] = packed.name
    return {"trust_remote_code": False, **place}


def named(settings: ModelSettings) -> str:
    """How an error names a backbone: by the field that a user would change."""
    path = gguf_file(settings) or folder(settings)
    return f"model.path={path}" if path else f"model={settings.name} ({settings.hub_id})"


def unavailable(settings: ModelSettings, error: Exception) -> str:
    """In one line why a library could not read a backbone, and for the hub's what to do."""
    if "trust_remote_code" in str(error):
        return (
            f"{named(settings)}: needs code of its own (auto_map in config.json or tokenizer_config.json), "
            "which is never executed; give a backbone whose model_type and tokenizer_class transformers knows itself"
        )
    first, _, rest = str(error).partition("\n")
    reason = f"{first} {rest.strip().partition(chr(10))[0]}" if first.endswith(":") else first
    if not isinstance(error, OSError | ValueError | RuntimeError):  # whose text alone may say nothing
        reason = f"{type(error).__name__}: {reason}"
    if settings.source != "hub":
        return f"{named(settings)}: {reason}"
    return (
        f"model={settings.name}: {settings.hub_id} at revision {settings.revision} is neither in the local "
        f"hub cache nor could it be downloaded ({reason}); either give a copy of it "
        "(model.source=folder model.path=DIR), or log in to the hub "
        f"with an account that may read it (hf auth login) and run again with network"
    )
