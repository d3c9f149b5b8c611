"""Backbones and tokenizers: embedded, random, from a folder or from the hub. Heavy imports happen inside."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from hycam_exp.config.settings import ModelSettings, TrainerSettings

ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS = (".safetensors", ".bin")
SETTINGS_FILE = "run.json"  # beside a saved adapter: the settings of the run that made it
HUB_TIMEOUT = 10  # seconds
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
DESCRIPTIONS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")  # mappings in JSON
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class Backbone:
    """A causal language model's config and tokenizer; the weights come with `load`."""

    settings: ModelSettings
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase

    @property
    def width(self) -> int:
        """The model's hidden size d."""
        return self.config.hidden_size

    @property
    def pad_id(self) -> int:
        """The id that fills batches; attention and loss never look at it, so EOS serves where there is none."""
        pad = self.tokenizer.pad_token_id
        usable = pad is not None and pad < self.config.vocab_size  # transformers may add a pad token of its own
        return pad if usable else self.tokenizer.eos_token_id

    @property
    def positions(self) -> int | None:
        """The longest text that the model was built for, where its config says so."""
        return getattr(self.config, "max_position_embeddings", None)

    def check_length(self, max_length: int) -> None:
        """Raise a `ValueError` if texts may become longer than the model's positions."""
        if self.positions is not None and max_length > self.positions:
            raise ValueError(
                f"data.max_length={max_length} is above the {self.positions} positions of {self.settings.name}: "
                f"data.max_length={self.positions} is the most"
            )

    def check_published(self) -> None:
        """Raise a `ValueError` where config or tokenizer are not what the settings say was published."""
        settings, tokenizer = self.settings, self.tokenizer
        if settings.source == "random":  # built from the architecture, with another backbone's tokenizer
            return
        ids = {"length": len(tokenizer), "bos_id": tokenizer.bos_token_id, "eos_id": tokenizer.eos_token_id}
        facts = [
            *(
                (f"architecture.{k}", v, getattr(self.config, k, None))
                for k, v in (settings.architecture or {}).items()
            ),
            *((f"tokenizer.{k}", v, ids[k]) for k, v in (settings.tokenizer or {}).items()),
        ]
        wrong = [
            f"model.{name}={value}: published, but found {found}" for name, value, found in facts if value != found
        ]
        if wrong:
            origin = settings.path if settings.source == "folder" else settings.hub_id
            raise ValueError("\n".join((f"model={settings.name} is not what {origin} holds:", *wrong)))


def check_device(hardware: TrainerSettings, precision: str) -> None:
    """Raise a `ValueError` if the machine lacks what trainer and recipe ask for."""
    import torch

    if hardware.strategy.startswith("zero") and find_spec("deepspeed") is None:
        raise ValueError(
            f"trainer.strategy={hardware.strategy}: deepspeed is not installed; pip install 'hycam-exp[scale]', or "
            "trainer=ddp or fsdp"
        )
    if hardware.accelerator == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # or DeepSpeed, which transformers may import, warns
        return
    if not torch.cuda.is_available():
        raise ValueError(f"trainer={hardware.name}: torch finds no GPU here; trainer=cpu runs without one")
    if hardware.devices > torch.cuda.device_count():
        raise ValueError(f"trainer.devices={hardware.devices}: torch finds {torch.cuda.device_count()} GPUs here")
    if precision == "bf16_mixed" and not torch.cuda.is_bf16_supported():
        raise ValueError("recipe.precision=bf16_mixed: this GPU has no bfloat16; recipe.precision=float32 runs on it")


def check_quantize(settings: ModelSettings, hardware: TrainerSettings) -> None:
    """Raise a `ValueError` if quantised weights are asked for and the machine cannot compute with them."""
    if settings.quantize is None:
        return
    if hardware.accelerator == "cpu":
        raise ValueError(f"model.quantize={settings.quantize}: needs a GPU (trainer=gpu)")
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.quantize={settings.quantize}: bitsandbytes is not installed; pip install 'hycam-exp[quantize]'"
        )


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


def examine(settings: ModelSettings, hardware: TrainerSettings, precision: str) -> Backbone:
    """`describe`, on a machine that has what trainer and recipe ask for.

    Raises:
        ValueError: everything that is missing, a line each.
    """
    problems, backbone = [], None
    try:
        backbone = describe(settings)
    except ValueError as error:
        problems.append(str(error))
    for check in (partial(check_device, hardware, precision), partial(check_quantize, settings, hardware)):
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    if backbone is None or problems:
        raise ValueError("\n".join(problems))
    return backbone


def describe(settings: ModelSettings) -> Backbone:
    """Config and tokenizer, before any weight is read.

    Raises:
        ValueError: files are missing or unreadable, or the hub cannot be reached.
    """
    from transformers import AutoConfig

    path = folder(settings)
    for file in [path / name for name in DESCRIPTIONS] if path else []:
        if file.is_file():
            json_fields(file)
    if path and not any((path / name).is_file() for name in VOCABULARIES):
        raise ValueError(f"model.path={path}: no tokenizer there ({', '.join(VOCABULARIES)})")
    where: dict[str, Any] = {} if path else {"revision": settings.revision}
    origin = str(path or settings.hub_id)
    try:
        if path is None:
            _reach(settings)
        is_random = settings.source == "random"
        config = _random_config(settings) if is_random else AutoConfig.from_pretrained(origin, **where)
        tokenizer = _tokenizer_class(path).from_pretrained(origin, **where)
    except Exception as error:  # the libraries' errors about broken files share no base class
        raise ValueError(_unavailable(settings, origin, error)) from error
    if is_random:
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    elif path and not any(file.suffix in WEIGHTS for file in path.iterdir()):
        raise ValueError(f"model.path={path}: no weights there (*.safetensors or *.bin)")
    backbone = Backbone(settings, config, tokenizer)
    backbone.check_published()
    return backbone


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


def _reach(settings: ModelSettings) -> None:
    """Ask the hub once for what is not in its cache: the libraries' own retries would take half a minute to fail.

    Raises:
        OSError: the hub cannot be reached, or does not give this account the files.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    assert settings.hub_id is not None, "checked by ModelSettings"
    if isinstance(try_to_load_from_cache(settings.hub_id, "config.json", revision=settings.revision), str):
        return
    try:
        HfApi().model_info(settings.hub_id, revision=settings.revision, timeout=HUB_TIMEOUT)
    except Exception as error:  # the hub's errors share no base class across its versions
        raise OSError(f"{type(error).__name__}: {error}") from error


def _random_config(settings: ModelSettings) -> PreTrainedConfig:
    from transformers import AutoConfig

    fields: dict[str, Any] = dict(settings.architecture or {})
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def _unavailable(settings: ModelSettings, origin: str, error: Exception) -> str:
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


def weight_dtype(precision: str, trained: bool) -> str:
    """The dtype of a backbone's weights: in mixed precision, frozen weights are kept in bfloat16."""
    if precision == "bf16_mixed":
        return "float32" if trained else "bfloat16"
    return precision


def quantization(dtype: str) -> BitsAndBytesConfig:
    """Four bits a weight in the NF4 type (Dettmers et al. 2023, arXiv 2305.14314), computed with in `dtype`."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
    )


def load(backbone: Backbone, dtype: str, seed: int = 0) -> PreTrainedModel:
    """The model with its weights, in `dtype` (a torch dtype's name), ready to be trained or evaluated.

    Raises:
        ValueError: the weights are missing or do not fit the config.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    settings = backbone.settings
    kwargs: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": settings.attention}
    if settings.quantize is not None:
        kwargs |= {"quantization_config": quantization(dtype), "device_map": {"": torch.cuda.current_device()}}
    if settings.source == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(backbone.config, **kwargs)
    path = folder(settings)
    if path is None:
        kwargs["revision"] = settings.revision
    origin = str(path or settings.hub_id)
    try:
        return AutoModelForCausalLM.from_pretrained(origin, **kwargs)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(_unavailable(settings, origin, error)) from error
