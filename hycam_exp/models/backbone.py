"""A backbone before its weights: config and tokenizer, embedded, random, from a folder or from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import DESCRIPTIONS, VOCABULARIES, WEIGHTS, folder, json_fields, unavailable
from hycam_exp.models.load import check_device, check_quantize
from hycam_exp.models.tokenizer import tokenizer_class

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from hycam_exp.config.settings import ModelSettings, TrainerSettings

HUB_TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Backbone:
    """A causal language model's config and tokenizer; the weights come with `load_model`."""

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
        tokenizer = tokenizer_class(path).from_pretrained(origin, **where)
    except Exception as error:  # the libraries' errors about broken files share no base class
        raise ValueError(unavailable(settings, origin, error)) from error
    if is_random:
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    elif path and not any(file.suffix in WEIGHTS for file in path.iterdir()):
        raise ValueError(f"model.path={path}: no weights there (*.safetensors or *.bin)")
    backbone = Backbone(settings, config, tokenizer)
    backbone.check_published()
    return backbone


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
