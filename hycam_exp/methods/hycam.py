"""HyCAM as a PEFT method: every attention module is wrapped, and its output scaled by a learnt modulation.

See: the paper, Eqs. 1 to 12; the maths is in `modulation` and `routing`, the wrapped modules in `hycam_layer`.

    model = get_peft_model(model, HyCAMConfig(r=64, num_specialized=5, tau=0.5, balance_weight=0.1))
"""

import warnings
from dataclasses import asdict
from typing import Any

from peft import PeftConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from torch import Tensor, nn

from hycam_exp.config.methods import HyCAMSettings
from hycam_exp.methods.adapter_file import CheckedTuner, Shapes
from hycam_exp.methods.bridge import register
from hycam_exp.methods.hycam_config import HyCAMConfig
from hycam_exp.methods.hycam_forward import ForwardHooks
from hycam_exp.methods.hycam_layer import NOT_MERGEABLE, HyCAMLayer, HyCAMModule, HyCAMNorm
from hycam_exp.methods.recognition import (
    adds_residual,
    attention_modules,
    hidden_size,
    is_attention,
    is_norm,
    layer_norms,
    num_blocks,
)


class HyCAMModel(CheckedTuner):
    """The tuner: wraps attention modules, and hangs what they need around a forward on the base model's hooks."""

    prefix = "hycam_"
    candidates = "attention modules"
    tuner_layer_cls = HyCAMModule
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config  # the attention modules are found in the model itself

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        assert isinstance(peft_config, HyCAMConfig)
        peft_config.check_model(hidden_size(model), num_blocks(model))
        if peft_config.target_modules is None:
            peft_config.target_modules = attention_modules(model)
            self._say_how_many(model, peft_config)
        if peft_config.train_layer_norms and isinstance(peft_config.target_modules, set):
            peft_config.target_modules |= layer_norms(model)
        for key, module in self.matched(model, peft_config).items():
            self._check_target(key, module, peft_config, model)
        super()._prepare_model(peft_config, model)

    def _say_how_many(self, model: nn.Module, peft_config: HyCAMConfig) -> None:
        """Warn where some blocks have no attention, as those of hybrids have other mixers, and are not modulated."""
        there = num_blocks(model)
        modulated = len(self.matched(model, peft_config))
        if peft_config.layers_to_transform is None and not peft_config.exclude_modules and modulated < there:
            warnings.warn(f"HyCAM modulates {modulated} of {there} blocks: the others have no attention", stacklevel=2)

    def _check_target(self, key: str, module: nn.Module, peft_config: HyCAMConfig, model: nn.Module) -> None:
        """Raise a `ValueError` unless a module that the config targets can be wrapped."""
        if peft_config.train_layer_norms and is_norm(module):
            return
        if not is_attention(module):
            raise ValueError(
                f"target_modules matches {key}, a {type(module).__name__}: HyCAM modulates attention modules; those of"
                f" {type(model).__name__} are {', '.join(sorted(self.candidates_in(model)))}"
            )
        if adds_residual(module):
            raise ValueError(
                f"{key}: {type(module).__name__} adds the residual stream to what it gives out, and HyCAM"
                " would scale both; it is for models whose blocks add the attention's output themselves"
            )

    def own_shapes(self, model: nn.Module, peft_config: PeftConfig) -> Shapes:
        assert isinstance(peft_config, HyCAMConfig)
        found: Shapes = {}
        for key, module in self.matched(model, peft_config).items():
            kind = HyCAMNorm if is_norm(module) else HyCAMLayer
            shapes = kind.shapes(module, peft_config, hidden_size(model))
            found |= {f"{key}.{name}": shape for name, shape in shapes.items()}
        return found

    def candidates_in(self, model: nn.Module) -> set[str]:
        return attention_modules(model)

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> Any:
        return check_target_module_exists(peft_config, key)

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
        assert isinstance(peft_config, HyCAMConfig)
        layer = target
        if not isinstance(layer, HyCAMModule):
            layer = (HyCAMNorm if is_norm(target) else HyCAMLayer)(target, hidden_size(self.model))
            self._replace_module(parent, target_name, layer, target)
        layer.update_layer(adapter_name, peft_config)
        layer.set_adapter(self.active_adapters)
        layer.watch(parent)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        setattr(parent, child_name, new_module)  # an attention module has no weight for PEFT's own way

    def inject_adapter(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        super().inject_adapter(model, *args, **kwargs)
        if ForwardHooks.of(model) is None:
            ForwardHooks(model)

    def auxiliary_loss(self) -> Tensor | None:
        """The weighted balance loss of the last training forward, over layers and adapters; None without any."""
        hooks = ForwardHooks.of(self.model)
        return None if hooks is None else hooks.auxiliary_loss()

    def unload(self) -> nn.Module:
        """The base model, with nothing of HyCAM left in it or on it."""
        if (hooks := ForwardHooks.of(self.model)) is not None:
            hooks.remove()
        return super().unload()

    def _check_merge_allowed(self) -> None:
        raise ValueError(NOT_MERGEABLE)

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(NOT_MERGEABLE)


def peft_config(settings: HyCAMSettings, num_blocks: int) -> HyCAMConfig:
    """A cell's settings in PEFT's words, for a model of `num_blocks` blocks."""
    values = asdict(settings)
    for name in ("name", "match", "layers", "layer_stride"):
        del values[name]
    routing = values.pop("routing")
    blocks = settings.blocks(num_blocks)
    return HyCAMConfig(
        task_type="CAUSAL_LM",
        r=values.pop("rank"),
        layers_to_transform=None if blocks == list(range(num_blocks)) else blocks,
        hard_routing=routing["hard"],
        noise_in_eval=routing["noise_in_eval"],
        train_router=routing["trainable"],
        router_init=routing["init"],
        **values,
    )


def attach(model: nn.Module, settings: HyCAMSettings) -> nn.Module:
    """The model with HyCAM around every attention module, everything else frozen."""
    return get_peft_model(model, peft_config(settings, num_blocks(model)))  # type: ignore[arg-type]


register("hycam", HyCAMConfig, HyCAMModel)
