"""MixLoRA as a PEFT method: every MLP a mixture of experts, each the frozen MLP with a LoRA of its own; top 2 a token.

See: Li et al. 2024, arXiv 2404.15159, and the authors' TUDB-Labs/MixLoRA and MoE-PEFT (Apache-2.0). Written from the
equations.

    model = get_peft_model(model, MixLoRAConfig(r=16, lora_alpha=32, num_experts=8, top_k=2))

A token goes through the frozen MLP once for each expert it uses, in one batch; there each expert's LoRA is on for its
own tokens alone. So every expert is in the graph, whether a token uses it or not. All other linear layers but the
output embedding have a plain LoRA. Where it departs from the authors: no dropout (theirs is 0.05) and no jitter (off
there, too). As in their code, and unlike their text, a token's k slots all count in the share of an expert, so that a
balanced loss is its weight times k; padding does not count, and the tokens of all layers are pooled.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from hycam_exp.config.multi_task import MixLoRASettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.recognition import mlp_linears, mlp_modules
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import StackedConfig, kaiming

ROUTER_DEVIATION = 0.02


@dataclass
class MixLoRAConfig(StackedConfig):
    """MixLoRA's settings for PEFT; the defaults are the paper's, but for the rank."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_experts")

    num_experts: int = 8
    top_k: int = 2
    balance_weight: float = 0.001
    balance_scope: str = "pooled"
    """pooled: one loss over the tokens of all layers; per_layer: the mean of the layers' losses."""
    in_mlp: ClassVar[bool] = False
    """Of a layer's config: it stands in an MLP, and has experts."""
    owns_router: ClassVar[bool] = False
    """Of a layer's config: its MLP's router stands in it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MIXLORA")
        fits = 1 <= self.top_k <= self.num_experts
        require(fits, "top_k", self.top_k, f"must be in 1..num_experts={self.num_experts}")
        require(self.balance_weight >= 0, "balance_weight", self.balance_weight, "must not be negative")
        known = self.balance_scope in ("pooled", "per_layer")
        require(known, "balance_scope", self.balance_scope, "must be one of pooled, per_layer")


class MixLoRALinear(RoutedLinear):
    """y = W x + (alpha / r) B_e A_e x, e being the token's expert in an MLP; elsewhere there is one, of all tokens.

    Trains r (in + out) parameters, N times as many in an MLP, and in an MLP's first layer N d for the router.
    """

    adapter_layer_names = ("mixlora_a", "mixlora_b", "mixlora_router")
    mixlora_router: nn.ParameterDict
    experts: "Experts | None" = None
    """Of a layer in an MLP: what sends the tokens to their experts."""

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MixLoRAConfig) -> tuple[tuple[int, ...] | None, ...]:
        num, d_in = config.num_experts if config.in_mlp else 1, base_layer.in_features
        router = (num, d_in) if config.owns_router else None
        return (num, config.r, d_in), (num, base_layer.out_features, config.r), router

    def initialise(self, adapter_name: str) -> None:
        """A Kaiming uniform, the router normal with deviation 0.02; B stays zero, so that the output starts as W x."""
        a, b, *router = self.parameters_of(adapter_name)
        kaiming(a)
        for matrix in router:
            nn.init.normal_(matrix.data, std=ROUTER_DEVIATION)
        if not self.config[adapter_name].init_weights:
            kaiming(b)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, *_ = self.parameters_of(adapter_name)
        codes = self.config[adapter_name].scale * F.linear(x, a.flatten(0, 1)).unflatten(-1, a.shape[:2])
        if self.experts is None:
            return F.linear(codes.squeeze(-2), b.squeeze(0))  # (..., out)
        return mix(codes, self.experts.chosen, b)  # (..., out)

    @staticmethod
    def combined(config: MixLoRAConfig, values: list[Tensor]) -> Tensor:
        """a N sum_i F_i P_i from each layer's F, the mean number of slots of a token, and P, its mean probability."""
        layers = torch.stack([value.to(values[0].device) for value in values])  # (layers, 2, N)
        pooled = layers.mean(0) if config.balance_scope == "pooled" else layers
        return config.balance_weight * config.num_experts * pooled.prod(-2).sum(-1).mean()


class Experts:
    """What sends an MLP's tokens to their experts, on hooks of that MLP: before it and after it."""

    def __init__(self, mlp: nn.Module, layers: tuple[MixLoRALinear, ...]) -> None:
        self.layers = layers
        self.chosen: Tensor
        """Which expert each of the MLP's tokens goes to, as 0 and 1: (..., L k, N)."""
        self.weights: Tensor | None = None
        """What each of a token's k experts counts: (..., L, k); None: the adapter is off."""
        self.handles: tuple[RemovableHandle, ...] = (
            mlp.register_forward_pre_hook(self._send),
            mlp.register_forward_hook(self._gather),
        )

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: nothing that hangs on the graph of the last forward pass."""
        return {key: value for key, value in vars(self).items() if key != "chosen"} | {"weights": None}

    def _send(self, mlp: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Every token as often as it has experts, next to each other."""
        first = self.layers[0]
        active = [name for name in first.active_adapters if name in first.mixlora_router]
        if first.disable_adapters or not active:
            self.weights = None
            return None
        require(len(active) == 1, "adapters", active, "MixLoRA routes by one adapter at a time")
        config, router = first.config[active[0]], first.mixlora_router[active[0]]
        (x,) = args  # (..., L, d)
        p = softmax(router_logits(x, router))  # (..., L, N)
        top, places = p.topk(config.top_k, dim=-1)  # (..., L, k)
        self.weights = top / top.sum(-1, keepdim=True)
        slots = F.one_hot(places, config.num_experts).to(p.dtype)  # (..., L, k, N)
        self.chosen = slots.flatten(-3, -2)  # (..., L k, N)
        first.heard((slots * self.weights.unsqueeze(-1)).sum(-2), x)
        if first.forward_state.training and config.balance_weight:
            mask = first.forward_state.mask
            kept = torch.ones_like(p[..., 0]) if mask is None else mask.to(p.dtype)  # (..., L)
            both = torch.stack((slots.sum(-2), p)) * kept.unsqueeze(-1)  # (2, ..., L, N)
            first.forward_state.collect(active[0], both.flatten(1, -2).sum(1) / kept.sum().clamp_min(1))
        return (x.repeat_interleave(config.top_k, dim=-2),)

    def _gather(self, mlp: nn.Module, args: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        """sum_k weight_k output_k, written as the first and the others' differences: they are equal at the start."""
        if self.weights is None:
            return outputs
        each = outputs.unflatten(-2, (-1, self.weights.shape[-1]))  # (..., L, k, d)
        first = each[..., 0, :]
        others = (each[..., 1:, :] - first.unsqueeze(-2)) * self.weights[..., 1:].unsqueeze(-1)
        return (first + others.sum(-2)).to(outputs.dtype)


class MixLoRAModel(RoutedModel):
    """The tuner of MixLoRA."""

    prefix = "mixlora_"
    tuner_layer_cls = MixLoRALinear

    def _configs(self, model: nn.Module, whole: StackedConfig) -> dict[str, StackedConfig]:
        """Layers of an MLP have experts, and its first layer the router.

        Raises:
            ValueError: the model has no MLP that is recognised, or some but not all layers of one are targeted.
        """
        keys = list(self.matched(model, whole))
        inside = {key.replace(".base_layer", "") for key in mlp_linears(model)}
        found: dict[str, StackedConfig] = {}
        for mlp in sorted(mlp_modules(model)):
            layers = {key for key in inside if key.startswith(f"{mlp}.")}
            own = [key for key in keys if key in layers]
            all_or_none = not own or set(own) == layers
            require(all_or_none, "target_modules", whole.target_modules, f"must target all linear layers of {mlp}")
            found |= {key: whole.placed(in_mlp=True, owns_router=key == own[0]) for key in own}
        return {key: found.get(key, whole) for key in keys}

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        for name in mlp_modules(model):
            mlp = model.get_submodule(name)
            layers = tuple(module for module in mlp.modules() if isinstance(module, MixLoRALinear))
            if layers and layers[0].experts is None:
                experts = Experts(mlp, layers)
                for layer in layers:
                    layer.experts = experts

    def unload(self) -> nn.Module:
        """The base model, with nothing of the method left in it or on it."""
        for layer in [module for module in self.model.modules() if isinstance(module, MixLoRALinear)]:
            for handle in () if layer.experts is None else layer.experts.handles:
                handle.remove()
        return super().unload()


def peft_config(settings: MixLoRASettings) -> MixLoRAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(MixLoRAConfig, settings)


def attach(model: nn.Module, settings: MixLoRASettings) -> nn.Module:
    """The model with MixLoRA on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "MixLoRA", MixLoRALinear)


register("mixlora", MixLoRAConfig, MixLoRAModel)
