"""What HyCAM does around a base model's forward: it hands the padding mask in, and adds the balance loss to the loss.

Both hang on hooks of the base model, so that they hold however it is called: through PEFT, by `generate`, or as the
model that an adapter was injected into.
"""

import warnings
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from hycam_exp.methods.hycam_layer import HyCAMLayer
from hycam_exp.methods.routing import balance_loss

IGNORE = -100
ROUTER_SWITCH = "output_router_logits"  # what TRL asks for to get an auxiliary loss with the outputs
LEFT_OUT = (
    "HyCAM's balance loss is no part of the loss that is trained: add hycam_exp.methods.auxiliary_loss(model) to a loss"
    " that is computed from the model's outputs (TRL on a base without experts: router_aux_loss_coef=1.0), or set"
    " balance_weight=0"
)
REENTRANT = (
    "HyCAM's balance loss has no gradient under re-entrant activation checkpointing: ask for it with"
    " gradient_checkpointing_kwargs={'use_reentrant': False}"
)


class ForwardHooks:
    """The hooks of one base model, for all adapters in it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._names = tuple(signature(model.forward).parameters)
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]
        config = model.config.get_text_config()
        self._text_config = None if hasattr(config, ROUTER_SWITCH) else config  # where the base has no experts
        if self._text_config is not None:
            self._text_config.output_router_logits = False  # or TRL refuses router_aux_loss_coef
        self._asked, self._holding = False, False
        self._forward = {"taken": False}
        """Whether the last forward's balance loss was asked for, or has had a gradient."""
        self._told: set[str] = set()

    @classmethod
    def of(cls, model: nn.Module) -> "ForwardHooks | None":
        """The hooks of a base model, if it has any."""
        owners = (getattr(hook, "__self__", None) for hook in model._forward_hooks.values())
        return next((owner for owner in owners if isinstance(owner, cls)), None)

    def remove(self) -> None:
        """Leave the base model as it was."""
        for handle in self._handles:
            handle.remove()
        for layer in self.layers():
            layer.unwatch()
        if self._text_config is not None:
            delattr(self._text_config, ROUTER_SWITCH)

    def layers(self) -> list[HyCAMLayer]:
        """The wrapped attention modules, from the first block to the last."""
        return [module for module in self.model.modules() if isinstance(module, HyCAMLayer)]

    def auxiliary_loss(self) -> Tensor | None:
        """The weighted balance loss of the last training forward, over layers and adapters; None without any.

        Raises:
            ValueError: it has no gradient, and is asked for to be trained.
        """
        layers = [layer for layer in self.layers() if layer.balance_means]
        if torch.is_grad_enabled() and self.model.training and _lacks_gradient(layers):
            raise ValueError(REENTRANT)
        self._forward["taken"] = True
        return _auxiliary_loss(layers)

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Forget the last training forward, and tell the layers which tokens count in this one."""
        if model.training or self._holding:
            layers = self.layers()
            if not any(layer.disable_adapters for layer in layers):
                mask = (dict(zip(self._names, args, strict=False)) | kwargs).get("attention_mask")
                self._holding, self._forward = model.training, {"taken": False}
                for layer in layers:
                    layer.begin(mask if isinstance(mask, Tensor) and mask.dim() == 2 else None)
        if self._text_config is None or ROUTER_SWITCH not in kwargs:
            self._asked = False
            return None
        self._asked = bool(kwargs[ROUTER_SWITCH])
        return args, {key: value for key, value in kwargs.items() if key != ROUTER_SWITCH}

    def _after(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        """The outputs; in training with labels, the balance loss is added to their loss."""
        given = dict(zip(self._names, args, strict=False)) | kwargs
        layers = self._trained_layers()
        labels = given.get("labels") if layers else None
        auxiliary = _auxiliary_loss(layers) if self._asked or labels is not None else None
        if layers:
            self._watch_backward(layers, outputs, auxiliary)
        if self._asked:
            zero = next(iter(_floats(outputs))).new_zeros(())
            outputs["aux_loss"] = zero if auxiliary is None else auxiliary
        if labels is None or auxiliary is None:
            return outputs
        return with_loss(outputs, share_of_step(labels, given.get("num_items_in_batch")) * auxiliary)

    def _trained_layers(self) -> list[HyCAMLayer]:
        """The layers with something to balance, if this forward is one that can be trained."""
        if not (self.model.training and torch.is_grad_enabled()):
            return []
        return [layer for layer in self.layers() if layer.balance_means and not layer.disable_adapters]

    def _watch_backward(self, layers: list[HyCAMLayer], outputs: Any, auxiliary: Tensor | None) -> None:
        """Tell the user, at the end of a backward pass that came to the outputs and not to the balance loss."""
        if torch.compiler.is_compiling() or not any(layer.weighs_balance for layer in layers):
            return
        if _lacks_gradient(layers):
            self._tell(REENTRANT)
            return
        forward = self._forward

        def check(gradient: Tensor) -> None:
            torch.autograd.Variable._execution_engine.queue_callback(
                lambda: None if forward["taken"] else self._tell(LEFT_OUT)
            )

        for tensor in _floats(outputs):
            if tensor.requires_grad:
                tensor.register_hook(check)
        if auxiliary is not None and auxiliary.requires_grad:
            auxiliary.register_hook(lambda gradient: forward.update(taken=True))

    def _tell(self, message: str) -> None:
        """Warn, once for a model."""
        if message not in self._told:
            self._told.add(message)
            warnings.warn(message, stacklevel=2)


def _lacks_gradient(layers: list[HyCAMLayer]) -> bool:
    """Whether some layer's balance loss does not reach its router, which is trained."""
    return any(
        not means.requires_grad and layer.trains_router(name)
        for layer in layers
        for name, means in layer.balance_means.items()
    )


def _auxiliary_loss(layers: list[HyCAMLayer]) -> Tensor | None:
    terms = []
    for name in dict.fromkeys(name for layer in layers for name in layer.balance_means):
        found = [layer for layer in layers if name in layer.balance_means]
        config = found[0].configs[name]
        device = found[0].balance_means[name].device
        means = torch.stack([layer.balance_means[name].to(device) for layer in found])  # (layers, 2, N_s)
        pooled = means.mean(0) if config.balance_scope == "pooled" else means
        terms.append(config.balance_weight * balance_loss(pooled).mean())
    return torch.stack(terms).sum() if terms else None


def _floats(outputs: Any) -> list[Tensor]:
    """The floating-point tensors that a forward gives out."""
    values = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, tuple) else (outputs,)
    return [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]


def with_loss(outputs: Any, auxiliary: Tensor) -> Any:
    """The outputs with the loss that labels gave them and the auxiliary loss; a tuple's first is its loss."""
    if isinstance(outputs, tuple):
        return (outputs[0] + auxiliary, *outputs[1:])
    if outputs.get("loss") is not None:
        outputs["loss"] = outputs["loss"] + auxiliary
    return outputs


def share_of_step(labels: Tensor, num_items: Tensor | int | None) -> Tensor | float:
    """A micro-batch's share of the tokens of its optimiser step, where HF's Trainer says how many those are.

    Its loss is then a sum over the step's tokens, so that the shares of the micro-batches add up to one.
    """
    return 1.0 if num_items is None else (labels[..., 1:] != IGNORE).sum() / num_items
