"""The frame of methods with several low-rank modules on every linear layer, stacked into one tensor per factor.

A method adds its settings, a layer with its shapes, initial values and update, and a tuner that names them.
"""

import copy
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers
from torch import Tensor, nn

from hycam_exp.methods.adapter_file import CheckedConfig, CheckedTuner, Shapes, require


@dataclass
class StackedConfig(CheckedConfig):
    """What the stacked methods' settings for PEFT have in common (alpha and RieMoE-LoRA's top_k are ours)."""

    earlier: ClassVar[dict[str, str]] = {"rank": "r", "alpha": "lora_alpha"}
    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha")

    r: int = 64
    lora_alpha: int = 64
    """The update is scaled by lora_alpha / r."""
    target_modules: set[str] | list[str] | str | None = "all-linear"
    """Names of linear layers, or a regular expression; all-linear: every one but the output embedding."""
    exclude_modules: set[str] | list[str] | str | None = None
    modules_to_save: list[str] | None = None
    init_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target_modules = set(self.target_modules) if isinstance(self.target_modules, list) else self.target_modules
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)
        for name in self.at_least_one:
            require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")

    def at(self, position: int, block: int, num_blocks: int) -> "StackedConfig":
        """The config of one layer, by its position among those adapted and by its block; here that of all."""
        return self

    def placed(self, **facts: Any) -> Self:
        """A copy of the config with what is so of one layer alone."""
        own = copy.copy(self)
        vars(own).update(facts)
        return own

    @property
    def scale(self) -> float:
        """What the update is multiplied by."""
        return self.lora_alpha / self.r


class StackedLinear(nn.Module, BaseTunerLayer):
    """A linear layer and the updates of its adapters: y = W x + sum of updates.

    PEFT's all-linear finds an adapted layer again, for a further adapter, by Linear in its class's name.
    """

    other_param_names = ("config",)
    stacked_vectors: tuple[str, ...] = ()
    """Which of `adapter_layer_names` hold a vector of each module: like biases, they are spared weight decay."""

    def __init__(self, base_layer: nn.Linear, adapter_name: str, config: StackedConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = self.width_of(base_layer)
        self.config: dict[str, Any] = {}
        self.merged_adapters: list[str] = []
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())
        self.update_layer(adapter_name, config)

    @staticmethod
    def width_of(base_layer: Any) -> tuple[int, int]:
        """The widths of what goes in and of what comes out."""
        return base_layer.in_features, base_layer.out_features

    @staticmethod
    def shapes(base_layer: nn.Linear, config: Any) -> tuple[tuple[int, ...] | None, ...]:
        """The parameters' shapes, in the order of `adapter_layer_names`; None where another layer has it."""
        raise NotImplementedError

    def initialise(self, adapter_name: str) -> None:
        """Set an adapter's initial values; all of them are zero before, and without `init_weights` none may stay so."""
        raise NotImplementedError

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        """What an adapter adds to the base layer's output; `x` is (..., in), in the adapter's dtype."""
        raise NotImplementedError

    def parameters_of(self, adapter_name: str) -> list[nn.Parameter]:
        """An adapter's parameters in this layer, in the order of `adapter_layer_names`."""
        of_all = [getattr(self, name) for name in self.adapter_layer_names]
        return [parameters[adapter_name] for parameters in of_all if adapter_name in parameters]

    def update_layer(self, adapter_name: str, config: StackedConfig) -> None:
        """Add an adapter's parameters, on the base layer's device and in its dtype."""
        like = next(self.base_layer.parameters())
        for name, shape in zip(self.adapter_layer_names, self.shapes(self.base_layer, config), strict=True):
            if shape is None:
                continue
            getattr(self, name)[adapter_name] = nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))
        self.config[adapter_name] = config
        self.initialise(adapter_name)
        self.set_adapter(self.active_adapters)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The base layer's output and the active adapters' updates, in the base layer's output dtype."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        total = result
        for adapter_name in self.active_adapters:
            if adapter_name in self.config:
                total = total + self.update(adapter_name, x.to(self.parameters_of(adapter_name)[0].dtype))
        return total.to(result.dtype)


class StackedModel(CheckedTuner):
    """The tuner: wraps linear layers, and refuses anything else that is targeted."""

    target_module_mapping: dict[str, list[str]] = {}
    candidates = "linear layers"

    def candidates_in(self, model: nn.Module) -> set[str]:
        return {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}

    def own_shapes(self, model: nn.Module, peft_config: PeftConfig) -> Shapes:
        layer_class = cast(type[StackedLinear], self.tuner_layer_cls)
        assert isinstance(peft_config, StackedConfig)
        places = self._configs(model, peft_config)
        return {
            f"{key}.{name}": shape
            for key, module in self.matched(model, peft_config).items()
            for name, shape in zip(
                layer_class.adapter_layer_names, layer_class.shapes(cast(nn.Linear, module), places[key]), strict=True
            )
            if shape is not None
        }

    def _configs(self, model: nn.Module, whole: StackedConfig) -> dict[str, StackedConfig]:
        """The config of every layer that is targeted, by its name; `whole` names them."""
        names = [name for name, _ in model.named_modules()]
        block_of = {name: int(found.group(1)) for name in names if (found := re.search(r"\.(\d+)\.", name))}
        num_blocks = 1 + max(block_of.values(), default=0)
        targets = enumerate(self.matched(model, whole))
        return {key: whole.at(position, block_of.get(key, 0), num_blocks) for position, key in targets}

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        whole = _maybe_include_all_linear_layers(copy.copy(peft_config), model)
        for key, module in self.matched(model, whole).items():
            self._check_target(key, module)
        assert isinstance(whole, StackedConfig)
        self._places = self._configs(model, whole)
        super()._prepare_model(peft_config, model)

    def _check_target(self, key: str, module: nn.Module) -> None:
        """Raise a `ValueError` unless a module that the config targets can be wrapped."""
        if not (isinstance(module, nn.Linear) and module.weight.is_floating_point()):
            raise ValueError(
                f"target_modules names {key}, a {type(module).__name__}: {self.tuner_layer_cls.__name__} wraps "
                "torch.nn.Linear with floating-point weights"
            )

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        assert isinstance(peft_config, StackedConfig)
        layer_class = cast(type[StackedLinear], self.tuner_layer_cls)
        config = self._places[current_key]
        if isinstance(target, layer_class):
            target.update_layer(adapter_name, config)
            return
        layer = layer_class(cast(nn.Linear, target), adapter_name, config)
        self._replace_module(parent, target_name, layer, target)


def kaiming(stack: Tensor) -> None:
    """Fill each matrix of a stack Kaiming uniform with a = sqrt(5): bounded by 1 / sqrt(fan_in)."""
    for matrix in stack:
        nn.init.kaiming_uniform_(matrix.data, a=math.sqrt(5))


class ExpertsLinear(StackedLinear):
    """A stacked layer of N experts A (N, r, in) and B (N, out, r) with a gate (N, in), in this order."""

    @staticmethod
    def shapes(base_layer: nn.Linear, config: Any) -> tuple[tuple[int, ...], ...]:
        num, r, d_in, d_out = config.num_experts, config.r, base_layer.in_features, base_layer.out_features
        return (num, r, d_in), (num, d_out, r), (num, d_in)

    def initialise(self, adapter_name: str) -> None:
        """A and the gate Kaiming uniform; B stays zero, so that the output starts as W x, but without
        `init_weights`."""
        a, b, gate = self.parameters_of(adapter_name)
        kaiming(a)
        kaiming(gate.unsqueeze(0))
        if not self.config[adapter_name].init_weights:
            kaiming(b)


def side_by_side(b: Tensor) -> Tensor:
    """Up-projections (N, out, r) as one (out, N r) matrix, which sums over modules as it multiplies."""
    return b.transpose(0, 1).flatten(1)
