"""A backbone's weights: in which dtype they are held, whether in four bits, and on which devices."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import folder, unavailable

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

    from hycam_exp.config.settings import ModelSettings, TrainerSettings
    from hycam_exp.models.backbone import Backbone


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
        raise ValueError(unavailable(settings, origin, error)) from error
