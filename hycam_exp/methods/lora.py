"""LoRA, PEFT's own, on all linear layers: y = W x + (alpha / r) B A x."""

import warnings

from peft import LoraConfig, get_peft_model
from torch import nn

from hycam_exp.method_settings import LoRAMatchedSettings, LoRASettings
from hycam_exp.methods.recognition import dimensions


def attach(model: nn.Module, settings: LoRASettings | LoRAMatchedSettings) -> nn.Module:
    """The model with LoRA on every linear layer but the output embedding; warns where the rank is above a width."""
    if isinstance(settings, LoRAMatchedSettings):
        rank = settings.rank(dimensions(model))
        settings = LoRASettings(name=settings.name, rank=rank, alpha=rank)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules="all-linear"
    )
    adapted = get_peft_model(model, config)
    narrow = [
        name
        for name, module in adapted.named_modules()
        if hasattr(module, "lora_A") and min(module.in_features, module.out_features) < settings.rank
    ]
    if narrow:
        shown = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in narrow}))
        warnings.warn(f"LoRA's rank {settings.rank} is above the width of {len(narrow)} layers: {shown}", stacklevel=2)
    return adapted
