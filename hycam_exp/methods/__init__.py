"""The methods: importing this package registers with PEFT those that live here."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

from peft import AdaLoraModel
from torch import Tensor, nn

from hycam_exp.config.methods import METHODS, method_of
from hycam_exp.methods import budget, peft_types
from hycam_exp.methods.adapter_file import peft_asking
from hycam_exp.methods.forward_state import ForwardState
from hycam_exp.methods.hycam_forward import ForwardHooks

for _method in METHODS.values():
    import_module(_method.module)


def attach(model: Any, settings: Any) -> nn.Module:
    """The model with the method of `settings` attached: what is trainable then is what the method trains.

    Raises:
        ValueError: the method does not fit the model, or a size is not found that matches a budget.
    """
    with peft_asking():
        if settings.match is not None:
            settings, _ = budget.prepared(settings, model.config)
        adapted: nn.Module = import_module(method_of(settings).module).attach(model, settings)
        return adapted


def backbone_of(model: Any) -> Any:
    """The Hugging Face model inside: what is called in decoding as in a forward."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def unadapted(model: Any) -> AbstractContextManager[None]:
    """The backbone alone computes inside; nothing changes for a method that attaches nothing."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()


def task_rows(model: Any, names: Sequence[str]) -> AbstractContextManager[None]:
    """Inside, the model's rows are of the tasks of these names, or of unknown ones where there are no names.

    It changes nothing for a method that is not told the task.

    Raises:
        ValueError: a task is none of the method's, in training.
    """
    state = ForwardState.of(backbone_of(model))
    if state is None or not state.tasks:
        return nullcontext()
    return state.given(state.index_of(names, model.training))


def auxiliary_loss(model: nn.Module) -> Tensor | None:
    """The weighted auxiliary loss of the last training forward; None for a method that has none.

    Raises:
        ValueError: it cannot be trained.
    """
    tuner: Any = getattr(model, "base_model", None)
    if isinstance(tuner, AdaLoraModel):
        return peft_types.orthogonality(tuner)
    if hasattr(type(tuner), "auxiliary_loss"):
        return tuner.auxiliary_loss()
    hooks = ForwardHooks.of(backbone_of(model))  # those of HyCAM where it was injected: there is no tuner then
    return None if hooks is None else hooks.auxiliary_loss()
