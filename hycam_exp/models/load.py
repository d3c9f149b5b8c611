"""A backbone's weights: in which dtype they are held, whether in four bits, and on which devices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import ADAPTER_FILE, adapter_beside_weights, gguf_file, named, origin, unavailable, where
from hycam_exp.models.gguf import unpacking

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel

    from hycam_exp.config.settings import ModelSettings, TrainerSettings
    from hycam_exp.models.backbone import Backbone

WRAPPERS = {
    "_orig_mod.": "_orig_mod. is torch.compile's: save model._orig_mod",
    "module.": "module. is that of DistributedDataParallel: save model.module",
    "base_model.": "base_model. is PEFT's: save model.merge_and_unload()",
}
"""What comes before the names of weights that were saved with a wrapper around the model, and the way out."""


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


def load_model(backbone: Backbone, dtype: str, seed: int = 0) -> PreTrainedModel:
    """The model with its weights, in `dtype` (a torch dtype's name), ready to be trained or evaluated.

    Raises:
        ValueError: the weights are missing or are not those that the config describes.
    """
    import torch
    from transformers import AutoModelForCausalLM

    settings = backbone.settings
    kwargs: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": settings.attention}
    if settings.quantize is not None:
        kwargs |= {"quantization_config": quantization(dtype), "device_map": {"": torch.cuda.current_device()}}
    if settings.source == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(backbone.config, trust_remote_code=False, **kwargs)
    return _read(settings, **kwargs)


def skeleton_of(config: PreTrainedConfig) -> PreTrainedModel:
    """The model that a config describes, with no numbers in it: all its tensors are on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        return model


def check_weights(backbone: Backbone) -> None:
    """Compare names and shapes of the stored weights with those of the model, before any weight is read.

    Under ZeRO-3, where transformers does not compare them, nothing else does. A GGUF file is compared when it is read.

    Raises:
        ValueError: the weights are missing or are not those that the config describes.
    """
    if backbone.settings.source != "random" and gguf_file(backbone.settings) is None:
        _read(backbone.settings, attn_implementation=backbone.settings.attention, device_map={"": "meta"})


def _read(settings: ModelSettings, **kwargs: Any) -> PreTrainedModel:
    """The model from its folder or the hub; what transformers would draw anew or leave out is refused."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if gguf_file(settings) is not None:
        kwargs |= unpacking()
    try:
        with _quiet():
            read: Any = AutoModelForCausalLM.from_pretrained(
                origin(settings), output_loading_info=True, ignore_mismatched_sizes=True, **where(settings), **kwargs
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ValueError(unavailable(settings, error)) from error
    model, found = read
    if getattr(model, "_hf_peft_config_loaded", False):
        raise adapter_beside_weights(f"{origin(settings)}/{ADAPTER_FILE}")
    differences = _differences(model, found)
    if differences:
        raise ValueError(f"{named(settings)}: the weights are not those that config.json describes: {differences}")
    loaded: PreTrainedModel = model
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and the report of transformers: what it reports is refused in one line."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _differences(model: PreTrainedModel, found: Mapping[str, Iterable[Any]]) -> str:
    """How stored weights differ from a model's, and the way out; empty where they do not.

    `found` is the loading info of transformers, which leaves out what is no difference: weights that the config ties,
    and buffers that old checkpoints hold, such as the frequencies of rotary positions.
    """
    unexpected = sorted(found["unexpected_keys"])
    shapes = [f"{name} ({tuple(stored)}, not {tuple(needed)})" for name, stored, needed in found["mismatched_keys"]]
    ways = [way for prefix, way in WRAPPERS.items() if any(name.startswith(prefix) for name in unexpected)]
    said = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if names[3:] else ''})"
        for kind, names in (
            ("missing", sorted(found["missing_keys"])), ("unexpected", unexpected), ("misshapen", sorted(shapes)),
        )
        if names
    ]  # fmt: skip
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = model.config.tie_word_embeddings and head is not None and not head.weight.is_meta
    if not said and tied and head.weight is not embedding.weight:  # transformers leaves them apart where values differ
        said, ways = ["a head that is not the embedding"], ["tie_word_embeddings=false in config.json lets them differ"]
    ways = ways or ["save config and weights of one model together (save_pretrained)"]
    return f"{', '.join(said)}; {' and '.join(ways)}" if said else ""
