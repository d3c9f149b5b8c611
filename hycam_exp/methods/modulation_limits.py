"""Where a backbone's blocks undo what modulation means: looked for in the model itself, whatever its family."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hycam_exp.methods.hycam_layer import HyCAMLayer
from hycam_exp.models.causality import looking

EPSILONS = {"eps", "variance_epsilon", "norm_eps"}
"""What a norm adds to a variance, by its family's word."""


def remarks(adapted: Any) -> list[str]:
    """What keeps modulation from being what the paper means in this model: a norm after attention takes away a scale
    that is the same in all channels, or attention reads the stream itself and no norm's output.

    Two forward passes of four tokens tell, as HyCAM starts: as the identity. Weights must lie here whole; of a model
    without HyCAM there is nothing to say.
    """
    layers = [layer for layer in adapted.modules() if isinstance(layer, HyCAMLayer)]
    if not layers:
        return []
    vocabulary = adapted.config.get_text_config(decoder=True).vocab_size
    ids = torch.arange(3, 7, device=adapted.device).remainder(vocabulary)[None]  # (1, T)
    with looking(adapted), _exact_norms(adapted):
        with _watched(adapted, layers) as raw:
            plain = adapted(input_ids=ids, use_cache=False).logits  # (1, T, V)
        with _hooked([layer.register_forward_hook(_enlarged) for layer in layers]):
            enlarged = adapted(input_ids=ids, use_cache=False).logits
    tolerance = 1e-3 if plain.dtype in (torch.float32, torch.float64) else 3e-2
    swallowed = torch.allclose(enlarged, plain, rtol=tolerance, atol=1e-2 * tolerance)
    found = ["attention reads the raw stream"] * any(raw)
    return found + ["a norm after attention swallows a uniform scale"] * swallowed


@contextmanager
def _exact_norms(model: nn.Module) -> Iterator[None]:
    """Norms without their epsilon, in which the small outputs of a small model would drown."""
    kept = [(m, name, vars(m)[name]) for m in model.modules() for name in EPSILONS & vars(m).keys()]
    for module, name, _ in kept:
        setattr(module, name, 1e-20)
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


@contextmanager
def _hooked(hooks: list[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _watched(model: nn.Module, layers: list[HyCAMLayer]) -> Iterator[list[bool]]:
    """Whether each layer's input is that of its block."""
    names = {module: name for name, module in model.named_modules()}
    entered, raw = [torch.empty(0)], list[bool]()
    hooks = []
    for layer in layers:
        block = model.get_submodule(names[layer].rpartition(".")[0])
        hooks += [
            block.register_forward_pre_hook(
                lambda _, args, kwargs: entered.append(_hidden(args, kwargs)), with_kwargs=True
            ),
            layer.register_forward_pre_hook(
                lambda _, args, kwargs: raw.append(torch.equal(entered[-1], _hidden(args, kwargs))), with_kwargs=True
            ),
        ]
    with _hooked(hooks):
        yield raw


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


def _enlarged(_: nn.Module, args: object, output: Any) -> Any:
    """The attention's output half as large again."""
    return type(output)((1.5 * output[0], *output[1:])) if isinstance(output, tuple | list) else 1.5 * output
