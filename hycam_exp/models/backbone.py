"""A backbone before its weights: config and tokenizer, embedded, random, from a folder or from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import (
    ADAPTER_FILE,
    adapter_beside_weights,
    check_files,
    folder,
    named,
    origin,
    unavailable,
    where,
)
from hycam_exp.models.load import check_device, check_quantize
from hycam_exp.models.tokenizer import ids_beyond, load_tokenizer

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
    taken: int = 0
    """Positions that a method takes for itself."""

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
        """The longest text that the model was built for, and a method leaves, where its config says so."""
        positions = getattr(self.config, "max_position_embeddings", None)
        return None if positions is None else positions - self.taken

    def check_length(self, max_length: int) -> None:
        """Raise a `ValueError` if texts may become longer than the model's positions."""
        if self.positions is not None and max_length > self.positions:
            beside = f" beside the method's {self.taken}" if self.taken else ""
            raise ValueError(
                f"data.max_length={max_length} is above the {self.positions} positions of {self.settings.name}{beside}:"
                f" data.max_length={self.positions} is the most"
            )

    def check_ids(self) -> None:
        """Raise a `ValueError` where a text can have ids for which the embedding has no row."""
        beyond = ids_beyond(self.tokenizer, self.config.vocab_size)
        if beyond:
            shown = ", ".join(f"{token!r} ({i})" for token, i in beyond[:3])
            raise ValueError(
                f"{named(self.settings)}: the tokenizer has {len(beyond)} tokens beyond the "
                f"{self.config.vocab_size} rows of the embedding (vocab_size in config.json): {shown}"
                f"{', ...' if beyond[3:] else ''}; enlarge the model (model.resize_token_embeddings(len(tokenizer))) "
                "and save it anew, or give the tokenizer that belongs to it"
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
    path = folder(settings)
    if path is not None:
        check_files(settings, path)
    try:
        published = _reach(settings) if path is None else []
        config = read_config(settings)
    except Exception as error:  # the libraries' errors about broken files share no base class
        raise ValueError(unavailable(settings, error)) from error
    if ADAPTER_FILE in published:
        raise adapter_beside_weights(f"{settings.hub_id}/{ADAPTER_FILE}")
    if settings.source != "random":
        check_architecture(settings, config)
    check_attention(settings, config)
    tokenizer = load_tokenizer(settings)
    if settings.source == "random":
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    backbone = Backbone(settings, config, tokenizer)
    backbone.check_published()
    backbone.check_ids()
    return backbone


def check_architecture(settings: ModelSettings, config: PreTrainedConfig) -> None:
    """Look at what the config says of the model.

    Raises:
        ValueError: its weights are stored quantised, or it is of several modalities, or has no causal language model.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = f"{named(settings)}: config.json has model_type={config.model_type}"
    stored = getattr(config, "quantization_config", None)
    if stored is not None:
        fields = stored if isinstance(stored, dict) else stored.to_dict()
        raise ValueError(
            f"{named(settings)}: config.json has a quantization_config "
            f"({fields.get('quant_method', 'bitsandbytes')}), and stored quantised weights are not read; give the "
            "model's unquantised weights (model.quantize=nf4 holds those in four bits)"
        )
    parts = [part for part in type(config).sub_configs if part != "text_config"]
    if "text_config" in type(config).sub_configs and parts:
        raise ValueError(
            f"{kind}, a model of several modalities ({', '.join(parts)}); save its language model alone, with a config "
            "and weights of its own, and give that"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"{kind}, of which transformers has no causal language model; give a decoder")


def check_attention(settings: ModelSettings, config: PreTrainedConfig) -> None:
    """Raise a `ValueError` where the family of models does not know the attention implementation that is asked for."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    known = {
        "sdpa": getattr(model_class, "_supports_sdpa", True),
        "flash_attention_2": getattr(model_class, "_supports_flash_attn", True),
    }
    if not known.get(settings.attention, True):
        raise ValueError(
            f"model.attention={settings.attention}: model_type={config.model_type} has no such implementation; "
            "model.attention=eager is always there"
        )


def config_fields(settings: ModelSettings) -> dict[str, Any]:
    """The fields of a backbone's config, where no config.json has them.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        fields: dict[str, Any] = read_config(settings).to_dict()
    except Exception as error:  # the libraries' errors about broken files share no base class
        raise ValueError(unavailable(settings, error)) from error
    return fields


def read_config(settings: ModelSettings) -> PreTrainedConfig:
    """The config of a random backbone's architecture, or as folder, GGUF file or hub have it; its errors are theirs."""
    from transformers import AutoConfig

    if settings.source == "random":
        fields: dict[str, Any] = dict(settings.architecture or {})
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
    return AutoConfig.from_pretrained(origin(settings), **where(settings))


def _reach(settings: ModelSettings) -> list[str]:
    """The names of files that the hub, or its cache, has of a backbone: all of them, or those that decide here.

    The hub is asked once for what is not in its cache: the libraries' own retries would take half a minute to fail.

    Raises:
        OSError: the hub cannot be reached, or does not give this account the files.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    assert settings.hub_id is not None, "checked by ModelSettings"
    revision = settings.revision
    names = ("config.json", ADAPTER_FILE)
    found = [n for n in names if isinstance(try_to_load_from_cache(settings.hub_id, n, revision=revision), str)]
    if found:
        return found
    try:
        info = HfApi().model_info(settings.hub_id, revision=revision, timeout=HUB_TIMEOUT)
    except Exception as error:  # the hub's errors share no base class across its versions
        raise OSError(f"{type(error).__name__}: {error}") from error
    return [file.rfilename for file in info.siblings or []]
