"""The methods: importing this package registers with PEFT those that live here."""

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from hycam_exp.config.methods import METHODS

for _method in METHODS.values():
    import_module(_method.module)


def attach(model: nn.Module, settings: Any) -> nn.Module:
    """The model with the method of `settings` attached: what is trainable then is what the method trains."""
    return import_module(METHODS[settings.name].module).attach(model, settings)


def backbone_of(model: Any) -> Any:
    """The Hugging Face model inside: what is called in decoding as in a forward."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def unadapted(model: Any) -> AbstractContextManager[None]:
    """The backbone alone computes inside; nothing changes for a method that attaches nothing."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()


def auxiliary_loss(model: nn.Module) -> Tensor | None:
    """The weighted auxiliary loss of the last training forward; None for a method that has none."""
    tuner: Any = getattr(model, "base_model", None)
    return tuner.auxiliary_loss() if hasattr(type(tuner), "auxiliary_loss") else None
