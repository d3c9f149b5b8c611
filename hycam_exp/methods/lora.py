"""LoRA, PEFT's own, on all linear layers: y = W x + (alpha / r) B A x."""

from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn

from hycam_exp.config.methods import LoRASettings
from hycam_exp.methods.width import warn_above_width


def attach(model: nn.Module, settings: LoRASettings) -> nn.Module:
    """The model with LoRA on every linear layer but the output embedding; warns where the rank is above a width."""
    config = LoraConfig(
        task_type="CAUSAL_LM", r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules="all-linear"
    )
    adapted = get_peft_model(model, config)
    warn_above_width("LoRA", settings.rank, adapted, LoraLayer)
    return adapted
