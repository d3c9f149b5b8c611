"""HyCAM as a PEFT method: every attention module is wrapped, and its output scaled by a learnt modulation.

See: the paper, Eqs. 1 to 12; the maths is in `modulation` and `routing`, the wrapped modules in `hycam_layer`.

    model = get_peft_model(model, HyCAMConfig(rank=64, num_specialized=5, tau=0.5, balance_weight=0.1))
"""

import warnings
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.peft_types import PeftType
from torch import Tensor, nn

from hycam_exp.config.methods import HyCAMSettings, RoutingSettings
from hycam_exp.methods.adapter_file import CheckedConfig, CheckedTuner
from hycam_exp.methods.bridge import register
from hycam_exp.methods.hycam_layer import NOT_MERGEABLE, HyCAMLayer, HyCAMModule, HyCAMNorm
from hycam_exp.methods.recognition import adds_residual, attention_modules, block_of, layer_norms, num_blocks
from hycam_exp.methods.routing import balance_loss

IGNORE = -100
ROUTER_SWITCH = "output_router_logits"  # what TRL asks for to get an auxiliary loss with the outputs


@dataclass
class HyCAMConfig(CheckedConfig):
    """HyCAM's settings for PEFT, as in `HyCAMSettings`; the defaults are the paper's (its rank is open: 64 is ours)."""

    rank: int = 64
    num_specialized: int = 5
    tau: float = 0.5
    balance_weight: float = 0.1
    shared: str = "full"
    specialized: str = "low_rank"
    layers: list[int] | None = None
    layer_stride: int = 1
    modulate: str = "attention_output"
    routing: dict[str, bool] = field(default_factory=lambda: {"hard": False, "noise_in_eval": False, "trainable": True})
    train_layer_norms: bool = False
    balance_scope: str = "per_layer"
    balance_masks_padding: bool = True
    projection_bias: bool = False
    scale_numerator: float | None = None
    target_modules: set[str] | list[str] | str | None = None
    """Names of the attention modules, or a regular expression; None: recognised in the model."""
    exclude_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    init_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("HYCAM")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        self.settings()  # checks the values

    def settings(self) -> HyCAMSettings:
        """The fields that decide the maths, checked."""
        values = {f.name: getattr(self, f.name) for f in fields(HyCAMSettings) if f.name not in ("name", "routing")}
        return HyCAMSettings(name="hycam", routing=RoutingSettings(**self.routing), **values)


class HyCAMModel(CheckedTuner):
    """The tuner: wraps attention modules, hands them the padding mask, and adds the balance loss for HF's loops."""

    prefix = "hycam_"
    candidates = "attention modules"
    tuner_layer_cls = HyCAMModule
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config  # the attention modules are found in the model itself

    def _prepare_model(self, peft_config: PeftConfig, model: Any) -> None:
        assert isinstance(peft_config, HyCAMConfig)
        settings = peft_config.settings()
        settings.check_width(model.config.hidden_size)
        if peft_config.target_modules is None:
            peft_config.target_modules = attention_modules(model)
        if settings.train_layer_norms and isinstance(peft_config.target_modules, set):
            peft_config.target_modules |= layer_norms(model)
        if settings.layers is not None or settings.layer_stride > 1:
            peft_config.layers, peft_config.layer_stride = settings.blocks(num_blocks(model)), 1
        super()._prepare_model(peft_config, model)
        if not hasattr(model.config, ROUTER_SWITCH):
            setattr(model.config, ROUTER_SWITCH, False)  # or TRL refuses router_aux_loss_coef

    def candidates_in(self, model: nn.Module) -> set[str]:
        return attention_modules(model)

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> Any:
        assert isinstance(peft_config, HyCAMConfig)
        chosen = peft_config.layers is None or block_of(key) in peft_config.layers
        return chosen and check_target_module_exists(peft_config, key)

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
            kind = HyCAMNorm if type(target).__name__.endswith("Norm") else HyCAMLayer
            if kind is HyCAMLayer and adds_residual(target):
                raise ValueError(
                    f"{current_key}: {type(target).__name__} adds the residual stream to what it gives out, and HyCAM"
                    " would scale both; it is for models whose blocks add the attention's output themselves"
                )
            layer = kind(target, self.model.config.hidden_size)
            self._replace_module(parent, target_name, layer, target)
        layer.update_layer(adapter_name, peft_config.settings(), peft_config.init_weights)
        layer.set_adapter(self.active_adapters)
        layer.watch(parent)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        setattr(parent, child_name, new_module)  # an attention module has no weight for PEFT's own way

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs; in training with labels, the balance loss is added to their loss."""
        mask = kwargs.get("attention_mask")
        for layer in self.layers():
            layer.begin(mask if mask is not None and mask.dim() == 2 else None)
        asked = not hasattr(self.model.config, "router_aux_loss_coef") and kwargs.pop(ROUTER_SWITCH, False)
        outputs = self.model(*args, **kwargs)
        labels, auxiliary = kwargs.get("labels"), None
        if labels is not None and self.model.training:
            auxiliary = self.auxiliary_loss()
            if auxiliary is not None:
                outputs["loss"] = outputs["loss"] + _share(labels, kwargs.get("num_items_in_batch")) * auxiliary
                if "log_probs" in outputs and not asked:
                    warnings.warn(LEFT_OUT, stacklevel=2)
        if asked:
            outputs["aux_loss"] = outputs["loss"].new_zeros(()) if auxiliary is None else auxiliary
        return outputs

    def layers(self) -> list[HyCAMLayer]:
        """The wrapped attention modules, from the first block to the last."""
        return [module for module in self.model.modules() if isinstance(module, HyCAMLayer)]

    def auxiliary_loss(self) -> Tensor | None:
        """The weighted balance loss of the last training forward, over layers and active adapters; None without any."""
        terms = []
        for name in self.active_adapters:
            config = self.peft_config[name]
            assert isinstance(config, HyCAMConfig)
            found = [layer.balance_means[name] for layer in self.layers() if name in layer.balance_means]
            if found:
                means = torch.stack([mean.to(found[0].device) for mean in found])  # (layers, 2, N_s)
                pooled = means.mean(0) if config.balance_scope == "pooled" else means
                terms.append(config.balance_weight * balance_loss(pooled).mean())
        return torch.stack(terms).sum() if terms else None

    def _check_merge_allowed(self) -> None:
        raise ValueError(NOT_MERGEABLE)

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(NOT_MERGEABLE)


LEFT_OUT = (
    "TRL computes its loss from log_probs, without HyCAM's balance loss: give its config router_aux_loss_coef=1.0"
)


def _share(labels: Tensor, num_items: Tensor | int | None) -> Tensor | float:
    """A micro-batch's share of the tokens of its optimiser step, where HF's Trainer says how many those are.

    Its loss is then a sum over the step's tokens, so that the shares of the micro-batches add up to one.
    """
    return 1.0 if num_items is None else (labels[..., 1:] != IGNORE).sum() / num_items


def attach(model: nn.Module, settings: HyCAMSettings) -> nn.Module:
    """The model with HyCAM around every attention module, everything else frozen."""
    values = asdict(settings)
    del values["name"]
    return get_peft_model(model, HyCAMConfig(task_type="CAUSAL_LM", **values))


register("hycam", HyCAMConfig, HyCAMModel)
