"""HyCAM as a PEFT method: every attention module is wrapped, and its output scaled by a learnt modulation.

See: the paper, Eqs. 1 to 12; the maths is in `modulation` and `routing`.

    model = get_peft_model(model, HyCAMConfig(rank=64, num_specialized=5, tau=0.5, balance_weight=0.1))
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.peft_types import PeftType
from torch import Tensor, nn

from hycam_exp.method_settings import HyCAMSettings
from hycam_exp.methods.bridge import register
from hycam_exp.methods.modulation import modulate, specialized_codes
from hycam_exp.methods.routing import balance_loss, gumbel_noise, router_logits, routing_weights

IGNORE = -100


@dataclass
class HyCAMConfig(PeftConfig):
    """HyCAM's settings for PEFT; the defaults are the paper's (its rank is open: 64 is ours)."""

    rank: int = 64
    num_specialized: int = 5
    tau: float = 0.5
    balance_weight: float = 0.1
    target_modules: set[str] | list[str] | str | None = None
    """Names of the attention modules, or a regular expression; None: recognised in the model."""
    exclude_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    init_weights: bool = field(default=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("HYCAM")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        self.settings()  # checks the values

    def settings(self) -> HyCAMSettings:
        """The fields that decide the maths, checked."""
        return HyCAMSettings(
            name="hycam",
            rank=self.rank,
            num_specialized=self.num_specialized,
            tau=self.tau,
            balance_weight=self.balance_weight,
        )


class HyCAMLayer(nn.Module, BaseTunerLayer):
    """An attention module and its modulation: h_out = h_att + h_att * (A_Shared + sum_k p_k A_Spec_k).

    Trains d^2 + N_s (2 d r + r^2 + d) parameters for width d, rank r and N_s specialized CAMs.
    """

    adapter_layer_names = ("hycam_shared", "hycam_a", "hycam_n", "hycam_b", "hycam_router")
    other_param_names = ("config",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: HyCAMConfig, width: int) -> None:
        super().__init__()
        self.base_layer, self.width = base_layer, width
        self.config: dict[str, HyCAMConfig] = {}
        self.hycam_shared = nn.ParameterDict()  # (d, d)
        self.hycam_a = nn.ParameterDict()  # (N_s, r, d)
        self.hycam_n = nn.ParameterDict()  # (N_s, r, r)
        self.hycam_b = nn.ParameterDict()  # (N_s, d, r)
        self.hycam_router = nn.ParameterDict()  # (N_s, d)
        self.token_mask: Tensor | None = None
        """(B, L), set by the tuner before a forward: which tokens count in the balance loss."""
        self.balance_losses: dict[str, Tensor] = {}
        """Eq. 10 of the last training forward, by adapter."""
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: HyCAMConfig) -> None:
        """Add an adapter's parameters, on the attention output projection's device and dtype."""
        d, r, num = self.width, config.rank, config.num_specialized
        shapes = {"shared": (d, d), "a": (num, r, d), "n": (num, r, r), "b": (num, d, r), "router": (num, d)}
        like = _float_parameter(self.base_layer)
        for name, shape in shapes.items():
            parameter = nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))
            getattr(self, f"hycam_{name}")[adapter_name] = parameter
        if config.init_weights:
            self._initialise(adapter_name)
        self.config[adapter_name] = config
        self.set_adapter(self.active_adapters)

    def _initialise(self, adapter_name: str) -> None:
        """A, N and the router Kaiming uniform; W_Shared and B stay zero, so that the output starts as h_att."""
        matrices = (*self.hycam_a[adapter_name], *self.hycam_n[adapter_name], self.hycam_router[adapter_name])
        for matrix in matrices:
            nn.init.kaiming_uniform_(matrix.data, a=math.sqrt(5))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The attention module's outputs, the first of them modulated; its input is h_norm (Eq. 1)."""
        outputs = self.base_layer(*args, **kwargs)  # Eq. 3
        if self.disable_adapters:
            return outputs
        h_norm = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        h_att = outputs[0] if isinstance(outputs, tuple) else outputs
        for adapter_name in self.active_adapters:
            if adapter_name in self.hycam_shared:
                h_att = self._modulate(adapter_name, h_norm, h_att)
        return (h_att, *outputs[1:]) if isinstance(outputs, tuple) else h_att

    def _modulate(self, adapter_name: str, h_norm: Tensor, h_att: Tensor) -> Tensor:
        w_shared, a, n, b, router = (getattr(self, name)[adapter_name] for name in self.adapter_layer_names)
        x = h_norm.to(w_shared.dtype)  # (B, L, d)
        p = self._route(adapter_name, x, router)  # (B, L, N_s)
        return modulate(h_att, x @ w_shared, specialized_codes(x, a, n), b, p)  # (B, L, d)

    def _route(self, adapter_name: str, x: Tensor, router: Tensor) -> Tensor:
        """The routing weights; in training with noise, and the balance loss is kept (assigned, never appended)."""
        logits = router_logits(x, router)
        noise = gumbel_noise(logits) if self.training else None
        p = routing_weights(logits, self.config[adapter_name].tau, noise)
        if self.training:
            self.balance_losses[adapter_name] = balance_loss(p, logits, self.token_mask)
        return p

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(NOT_MERGEABLE)

    def unmerge(self) -> None:
        raise ValueError(NOT_MERGEABLE)


NOT_MERGEABLE = (
    "HyCAM cannot be merged into the backbone: its modulation depends on the input, so no fixed weight equals it"
)


class HyCAMModel(BaseTuner):
    """The tuner: wraps attention modules, hands them the padding mask, and adds the balance loss for HF's loops."""

    prefix = "hycam_"
    tuner_layer_cls = HyCAMLayer
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config  # the attention modules are found in the model itself

    def _prepare_model(self, peft_config: PeftConfig, model: Any) -> None:
        assert isinstance(peft_config, HyCAMConfig)
        if peft_config.target_modules is None:
            peft_config.target_modules = attention_modules(model)
        peft_config.settings().check_width(model.config.hidden_size)

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
        if isinstance(target, HyCAMLayer):
            target.update_layer(adapter_name, peft_config)
        else:
            layer = HyCAMLayer(target, adapter_name, peft_config, self.model.config.hidden_size)
            self._replace_module(parent, target_name, layer, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        setattr(parent, child_name, new_module)  # an attention module has no weight for PEFT's own way

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs; in training with labels, the balance loss is added to their loss."""
        mask = kwargs.get("attention_mask")
        for layer in self.layers():
            layer.token_mask = mask if mask is not None and mask.dim() == 2 else None
            layer.balance_losses = {}
        outputs = self.model(*args, **kwargs)
        labels = kwargs.get("labels")
        if labels is not None and self.model.training:
            share = _share(labels, kwargs.get("num_items_in_batch"))
            outputs["loss"] = outputs["loss"] + share * self.auxiliary_loss()
        return outputs

    def layers(self) -> list[HyCAMLayer]:
        """The wrapped attention modules, from the first block to the last."""
        return [module for module in self.model.modules() if isinstance(module, HyCAMLayer)]

    def auxiliary_loss(self) -> Tensor:
        """The balance loss of the last training forward: its weight times the mean over layers, for active adapters."""
        layers = self.layers()
        terms = [
            layer.config[name].balance_weight * loss for layer in layers for name, loss in layer.balance_losses.items()
        ]
        return torch.stack([term.to(terms[0].device) for term in terms]).sum() / len(layers)

    def _check_merge_allowed(self) -> None:
        raise ValueError(NOT_MERGEABLE)

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(NOT_MERGEABLE)


def _share(labels: Tensor, num_items: Tensor | int | None) -> Tensor | float:
    """A micro-batch's share of the tokens of its optimiser step, where HF's Trainer says how many those are.

    Its loss is then a sum over the step's tokens, so that the shares of the micro-batches add up to one.
    """
    return 1.0 if num_items is None else (labels[..., 1:] != IGNORE).sum() / num_items


def _float_parameter(module: nn.Module) -> Tensor:
    """A floating-point weight of an attention module, its output projection's where it has that name."""
    named = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
    return next((p for name, p in named.items() if name.startswith("o_proj")), next(iter(named.values())))


def attention_modules(model: nn.Module) -> set[str]:
    """The name that a model's blocks give their attention module (self_attn, attn, attention).

    Raises:
        ValueError: no module of a numbered block has a class whose name ends in Attention.
    """
    found = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if re.search(r"\.\d+\.\w+$", name) and type(module).__name__.endswith("Attention")
    }
    if not found:
        raise ValueError(f"{type(model).__name__}: no attention module recognised; name it with target_modules")
    return found


def attach(model: nn.Module, settings: HyCAMSettings) -> nn.Module:
    """The model with HyCAM around every attention module, everything else frozen."""
    return get_peft_model(
        model,
        HyCAMConfig(
            task_type="CAUSAL_LM",
            rank=settings.rank,
            num_specialized=settings.num_specialized,
            tau=settings.tau,
            balance_weight=settings.balance_weight,
        ),
    )


register("hycam", HyCAMConfig, HyCAMModel)
