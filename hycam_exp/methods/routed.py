"""The frame of stacked methods that weigh their modules by the token or by the task, so that no fixed weight is theirs.

y = W x + (alpha / r) sum_i g_i B_i code_i
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.method_settings import MethodSettings
from hycam_exp.methods.forward_state import ForwardState
from hycam_exp.methods.stacked import StackedConfig, StackedLinear, StackedModel, side_by_side
from hycam_exp.methods.width import warn_above_width

Config = TypeVar("Config", bound=StackedConfig)
WORDS = {"rank": "r", "alpha": "lora_alpha"}
"""PEFT's words for ours."""


class RoutedLinear(StackedLinear):
    """A linear layer whose updates depend on the token, or on the task of its row."""

    routing_listener: Callable[[Tensor], None] | None = None
    """Called by every forward with the weights (B, L, N), detached; recomputed activations call it again."""
    forward_state: ForwardState
    """The forward pass that the layer is in."""

    def heard(self, g: Tensor, x: Tensor) -> Tensor:
        """The weights g (..., N) as they are, told to who listens, for every token of x (..., in)."""
        if self.routing_listener is not None:
            self.routing_listener(g.detach().expand(*x.shape[:-1], g.shape[-1]))
        return g

    @staticmethod
    def combined(config: Any, values: list[Tensor]) -> Tensor:
        """The weighted auxiliary loss from what the layers of an adapter have collected."""
        raise NotImplementedError

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(not_mergeable(type(self)))

    def unmerge(self) -> None:
        raise ValueError(not_mergeable(type(self)))


def not_mergeable(layer: type) -> str:
    """Why an adapter of a method with such layers cannot be merged."""
    title = layer.__name__.removesuffix("Linear")
    return f"{title} cannot be merged into the backbone: its weights depend on the token or the task; keep it beside it"


class RoutedModel(StackedModel):
    """The tuner: its layers share one state of the base model's forward passes."""

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        state = ForwardState.of(model) or ForwardState(model, self._combined)
        layers = [module for module in model.modules() if isinstance(module, RoutedLinear)]
        for layer in layers:
            layer.forward_state = state
        state.tasks = self._tasks_of(layers[0].active_adapters)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Activate adapters; all of them count tasks alike.

        Raises:
            ValueError: they have other tasks each.
        """
        tasks = self._tasks_of([adapter_name] if isinstance(adapter_name, str) else adapter_name)
        super().set_adapter(adapter_name, inference_mode)
        if (state := ForwardState.of(self.model)) is not None:
            state.tasks = tasks

    def _tasks_of(self, adapter_names: list[str]) -> tuple[str, ...]:
        """The tasks that the method is told, as these adapters count them."""
        told = {tuple(getattr(self.peft_config[name], "tasks", ())) for name in adapter_names}
        if len(told) > 1:
            shown = ", ".join(adapter_names)
            raise ValueError(f"adapters {shown} have different tasks; activate those of the same tasks only")
        return next(iter(told), ())

    def generate(self, *args: Any, task_index: Tensor | None = None, **kwargs: Any) -> Any:
        """The base model's `generate`, for rows of these tasks."""
        state = ForwardState.of(self.model)
        assert state is not None, "hung on when the first adapter was put in"
        with state.given(task_index):
            return self.model.generate(*args, **kwargs)

    def auxiliary_loss(self) -> Tensor | None:
        """The weighted auxiliary loss of the last training forward; None for a method or setting without any."""
        state = ForwardState.of(self.model)
        return None if state is None else state.auxiliary_loss()

    def _combined(self, adapter_name: str, values: list[Tensor]) -> Tensor:
        return cast(type[RoutedLinear], self.tuner_layer_cls).combined(self.peft_config[adapter_name], values)

    def unload(self) -> nn.Module:
        """The base model, with nothing of the method left in it or on it."""
        if (state := ForwardState.of(self.model)) is not None:
            state.remove()
        return super().unload()

    def _check_merge_allowed(self) -> None:
        raise ValueError(not_mergeable(self.tuner_layer_cls))

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(not_mergeable(self.tuner_layer_cls))


def mix(codes: Tensor, g: Tensor, b: Tensor) -> Tensor:
    """sum_i g_i B_i code_i; codes (..., N, r), or (..., 1, r) where all share one, g (..., N), b (N, out, r)."""
    weighted = (g.unsqueeze(-1) * codes).to(codes.dtype).flatten(-2)  # (..., N r)
    return F.linear(weighted, side_by_side(b))  # (..., out)


def softmax(logits: Tensor) -> Tensor:
    """Over the last dimension, in at least float32."""
    return torch.softmax(logits.to(torch.promote_types(torch.float32, logits.dtype)), dim=-1)


def in_pefts_words(config: type[Config], settings: MethodSettings) -> Config:
    """A cell's settings as a config for PEFT."""
    own = {key: value for key, value in vars(settings).items() if key not in ("name", "match")}
    return config(task_type="CAUSAL_LM", **{WORDS.get(key, key): value for key, value in own.items()})


def attach_stack(model: nn.Module, config: StackedConfig, title: str, layer: type[StackedLinear]) -> nn.Module:
    """The model with a stacked method; warns as LoRA does where its rank is above the width of layers."""
    adapted = get_peft_model(model, config)  # type: ignore[arg-type]
    warn_above_width(title, config.r, adapted, layer)
    return adapted
