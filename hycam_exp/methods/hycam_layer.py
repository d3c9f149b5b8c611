"""What HyCAM puts in a block: the wrapped attention module, and in the released form its wrapped layer norms."""

import math
from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from hycam_exp.methods.adapter_file import Shapes
from hycam_exp.methods.hycam_config import HyCAMConfig
from hycam_exp.methods.modulation import decode, fuse, low_rank_codes, modulate, with_bias
from hycam_exp.methods.recognition import float_parameter
from hycam_exp.methods.routing import gumbel_noise, router_logits, routing_weights, token_means

NOT_MERGEABLE = (
    "HyCAM cannot be merged into the backbone: its modulation depends on the input, so no fixed weight equals it"
)


RELEASED_DEVIATION = 0.02
"""Standard deviation of the released router's initial weights."""


class HyCAMModule(nn.Module, BaseTunerLayer):
    """A wrapped module with parameters by adapter."""

    other_param_names = ("configs",)

    def __init__(self, base_layer: nn.Module, width: int) -> None:
        super().__init__()
        self.base_layer, self.width = base_layer, width
        self.configs: dict[str, HyCAMConfig] = {}  # `config` would hide the attention module's own
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())

    @classmethod
    def shapes(cls, base_layer: nn.Module, config: HyCAMConfig, width: int) -> Shapes:
        """The shapes of an adapter's parameters on a module of a model of hidden size `width`, by their names."""
        raise NotImplementedError

    def update_layer(self, adapter_name: str, config: HyCAMConfig) -> None:
        """Add an adapter's parameters."""
        raise NotImplementedError

    def watch(self, block: nn.Module) -> None:
        """Called for every adapter with the block that the module stands in."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(NOT_MERGEABLE)

    def unmerge(self) -> None:
        raise ValueError(NOT_MERGEABLE)


class HyCAMLayer(HyCAMModule):
    """An attention module and its modulation: h_out = h_att + h_att * (A_Shared + sum_k p_k A_Spec_k).

    Trains d^2 + N_s (2 d r + r^2 + d) parameters for width d, rank r and N_s specialized CAMs. As ablations, a
    low-rank shared CAM has 2 d r + r^2 instead of d^2, none has none, and a full specialized CAM has d^2 instead of
    2 d r + r^2; biases of the released form add d to each CAM, 2 r to each low-rank one, and N_s for the router.
    """

    adapter_layer_names = (
        "hycam_shared",  # (d, d)
        "hycam_shared_a",  # (1, r, d)
        "hycam_shared_n",  # (1, r, r)
        "hycam_shared_b",  # (1, d, r)
        "hycam_shared_bias",  # (1, d)
        "hycam_shared_a_bias",  # (1, r)
        "hycam_shared_n_bias",  # (1, r)
        "hycam_specialized",  # (N_s, d, d)
        "hycam_a",  # (N_s, r, d)
        "hycam_n",  # (N_s, r, r)
        "hycam_b",  # (N_s, d, r)
        "hycam_bias",  # (N_s, d)
        "hycam_a_bias",  # (N_s, r)
        "hycam_n_bias",  # (N_s, r)
        "hycam_router",  # (N_s, d)
        "hycam_router_bias",  # (N_s,)
    )

    def __init__(self, base_layer: nn.Module, width: int) -> None:
        super().__init__(base_layer, width)
        self.token_mask: Tensor | None = None
        """(B, L or more), set before a training forward: which tokens count in the balance loss."""
        self.balance_means: dict[str, Tensor] = {}
        """What Eq. 10 multiplies, from the last training forward, by adapter: (2, N_s)."""
        self.block_input: Tensor | None = None
        """(B, L, d): the residual stream before the block, kept for the released form alone."""
        self.routing_listener: Callable[[Tensor], None] | None = None
        """Is given the routing weights of every forward: (B, L, N_s)."""
        self._watcher: RemovableHandle | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: nothing that hangs on the graph of the last forward."""
        return super().__getstate__() | {"token_mask": None, "balance_means": {}, "block_input": None}

    @property
    def weighs_balance(self) -> bool:
        """Some active adapter's balance loss has a weight."""
        return any(self.configs[name].balance_weight > 0 for name in self.balance_means)

    def trains_router(self, adapter_name: str) -> bool:
        """The adapter's router has a gradient."""
        router = self._get(adapter_name, "router")
        return router is not None and router.requires_grad

    def begin(self, token_mask: Tensor | None) -> None:
        """Forget the last forward."""
        self.token_mask, self.balance_means = token_mask, {}

    def watch(self, block: nn.Module) -> None:
        """Keep the block's input of every forward, if an adapter scales the residual stream."""
        needed = any(s.modulate == "residual_stream" for s in self.configs.values())
        if needed and self._watcher is None:
            self._watcher = block.register_forward_pre_hook(_keep_block_input, with_kwargs=True)

    def unwatch(self) -> None:
        """Leave the block as it was."""
        if self._watcher is not None:
            self._watcher.remove()
            self._watcher = None

    @classmethod
    def shapes(cls, base_layer: nn.Module, config: HyCAMConfig, width: int) -> Shapes:
        return {f"hycam_{name}": shape for name, shape in _shapes(config, width).items()}

    def update_layer(self, adapter_name: str, config: HyCAMConfig) -> None:
        """Add an adapter's parameters, on the attention output projection's device and dtype."""
        like = float_parameter(self.base_layer)
        for name, shape in self.shapes(self.base_layer, config, self.width).items():
            parameter = nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))
            getattr(self, name)[adapter_name] = parameter
        self.configs[adapter_name] = config
        if not config.train_router:
            frozen = {adapter_name: ("hycam_router", "hycam_router_bias")}
            self.frozen_peft_weight_names = self.frozen_peft_weight_names | frozen
        self._initialise(adapter_name)

    def _initialise(self, adapter_name: str) -> None:
        """A, N and the router Kaiming uniform; all that reaches the output stays zero, which then starts as h_att.

        The released router is normal instead, and decides the routing for good where it stays frozen. Without
        `init_weights` what would stay zero is random as well.
        """
        config = self.configs[adapter_name]
        random = ["hycam_shared_a", "hycam_shared_n", "hycam_a", "hycam_n"]
        if not config.init_weights:
            random += ["hycam_shared", "hycam_specialized", "hycam_shared_b", "hycam_b"]
        for name in random:
            if adapter_name in (of_name := getattr(self, name)):
                stack = of_name[adapter_name]
                for matrix in stack if stack.dim() > 2 else (stack,):
                    nn.init.kaiming_uniform_(matrix.data, a=math.sqrt(5))
        if (router := self._get(adapter_name, "router")) is not None:
            if config.router_init == "normal":
                nn.init.normal_(router.data, std=RELEASED_DEVIATION)
            else:
                nn.init.kaiming_uniform_(router.data, a=math.sqrt(5))

    def _get(self, adapter_name: str, name: str) -> Any:
        return getattr(self, f"hycam_{name}").get(adapter_name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The attention module's outputs, the first of them modulated; its input is h_norm (Eq. 1)."""
        outputs = self.base_layer(*args, **kwargs)  # Eq. 3
        if self.disable_adapters:
            return outputs
        h_norm = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        h_att = outputs[0] if isinstance(outputs, tuple | list) else outputs
        for adapter_name in self.active_adapters:
            if adapter_name in self.configs:
                h_att = self._modulate(adapter_name, h_norm, h_att)
        return type(outputs)((h_att, *outputs[1:])) if isinstance(outputs, tuple | list) else h_att

    def modulation(self, adapter_name: str, h_norm: Tensor) -> Tensor:
        """What an adapter multiplies every token's features by and adds, A_Fusion: (B, L, d)."""
        return fuse(*self._parts(adapter_name, h_norm))  # Eq. 11

    def _modulate(self, adapter_name: str, h_norm: Tensor, h_att: Tensor) -> Tensor:
        stream = None  # (B, L, d)
        if self.configs[adapter_name].modulate == "residual_stream":
            assert self.block_input is not None, "the block was watched"
            stream = self.block_input + h_att
        if self._decodes(adapter_name, h_norm):
            x = self._read(adapter_name, h_norm)  # (B, 1, d)
            a, n, b = (self._get(adapter_name, name) for name in ("a", "n", "b"))
            base = h_att if stream is None else stream
            return decode(h_att, self._shared(adapter_name, x), x, a, n, b, self._route(adapter_name, x), base)
        return modulate(h_att, *self._parts(adapter_name, h_norm), stream)  # (B, L, d)

    def _decodes(self, adapter_name: str, h_norm: Tensor) -> bool:
        """One token of every row, without gradients, for specialized CAMs that are B N A as in the paper."""
        if torch.is_grad_enabled() or h_norm.shape[-2] != 1 or torch.is_autocast_enabled(h_norm.device.type):
            return False
        config = self.configs[adapter_name]
        plain = not config.projection_bias and config.scale_numerator is None
        return plain and config.num_specialized > 0 and config.specialized == "low_rank"

    def _read(self, adapter_name: str, h_norm: Tensor) -> Tensor:
        """The attention's input in the dtype of an adapter's parameters."""
        named = (getattr(self, name) for name in self.adapter_layer_names)
        return h_norm.to(next(of_name[adapter_name] for of_name in named if adapter_name in of_name).dtype)

    def _parts(
        self, adapter_name: str, h_norm: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """The shared CAM's product, and the specialized CAMs' codes, B and weights; None for what is not there."""
        x = self._read(adapter_name, h_norm)  # (B, L, d)
        shared = self._shared(adapter_name, x)  # (B, L, d)
        if not self.configs[adapter_name].num_specialized:
            return shared, None, None, None
        codes, b = self._specialized(adapter_name, x)  # (B, L, N_s or 1, r), (N_s, d, r)
        return shared, codes, b, self._route(adapter_name, x)  # (B, L, N_s)

    def _shared(self, adapter_name: str, x: Tensor) -> Tensor | None:
        """The input of the shared CAM's SiLU."""
        bias = self._get(adapter_name, "shared_bias")
        kind = self.configs[adapter_name].shared
        if kind == "none":
            return None
        if kind == "full":
            before = x @ self._get(adapter_name, "shared")
            return before if bias is None else before + bias[0]
        codes, b = self._low_rank(adapter_name, x, "shared_")
        return F.linear(codes[..., 0, :], b[0])

    def _specialized(self, adapter_name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and B, whose products are the inputs of the specialized CAMs' SiLUs; a full CAM's code is x."""
        if self.configs[adapter_name].specialized == "low_rank":
            return self._low_rank(adapter_name, x, "")
        codes, b = x.unsqueeze(-2), self._get(adapter_name, "specialized").transpose(-1, -2)
        bias = self._get(adapter_name, "bias")
        return (codes, b) if bias is None else with_bias(codes, b, bias)

    def _low_rank(self, adapter_name: str, x: Tensor, which: str) -> tuple[Tensor, Tensor]:
        """Codes and B of low-rank CAMs; with biases and scale, s (B (N (A x + bias) + bias) + bias)."""
        a, n, b, bias, a_bias, n_bias = (
            self._get(adapter_name, which + name) for name in ("a", "n", "b", "bias", "a_bias", "n_bias")
        )
        codes = low_rank_codes(x, a, n)  # (B, L, M, r)
        if bias is not None:
            codes, b = with_bias(codes + (torch.bmm(n, a_bias.unsqueeze(-1)).squeeze(-1) + n_bias), b, bias)
        config = self.configs[adapter_name]
        if config.scale_numerator is not None:
            codes = codes * (config.scale_numerator / config.r)
        return codes, b

    def _route(self, adapter_name: str, x: Tensor) -> Tensor:
        """The routing weights; in training with noise, and what the balance loss needs is kept (never appended)."""
        config = self.configs[adapter_name]
        logits = router_logits(x, self._get(adapter_name, "router"), self._get(adapter_name, "router_bias"))
        noise = gumbel_noise(logits) if self.training or config.noise_in_eval else None
        p = routing_weights(logits, config.tau, noise, config.hard_routing)
        if self.training:
            mask = self.token_mask if config.balance_masks_padding else None
            mask = None if mask is None else mask[:, -p.shape[1] :]  # (B, L): in decoding the last of those so far
            means = token_means(p, logits, mask)  # computed again as well, so that the same tensors are saved
            if not _recomputing():
                self.balance_means[adapter_name] = means
        if self.routing_listener is not None:
            self.routing_listener(p.detach())
        return p


def _recomputing() -> bool:
    """Activation checkpointing computes the forward pass again, inside a backward pass.

    What the balance loss needs is there from the first time; kept again, it would keep the graph of every block.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _keep_block_input(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Hand a block's input to its wrapped attention, if that scales the residual stream."""
    for module in block.children():
        if isinstance(module, HyCAMLayer):
            module.block_input = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


def _shapes(config: HyCAMConfig, width: int) -> Shapes:
    """The shapes of an adapter's parameters, by their names without the prefix."""
    d, r, num = width, config.r, config.num_specialized
    shapes: Shapes = {}
    if config.shared == "full":
        shapes["shared"] = (d, d)
    elif config.shared == "low_rank":
        shapes |= {"shared_a": (1, r, d), "shared_n": (1, r, r), "shared_b": (1, d, r)}
    if num:
        low_rank = {"a": (num, r, d), "n": (num, r, r), "b": (num, d, r)}
        shapes |= low_rank if config.specialized == "low_rank" else {"specialized": (num, d, d)}
        shapes["router"] = (num, d)
    if config.projection_bias:
        shapes |= _bias_shapes(config, width)
    return shapes


def _bias_shapes(config: HyCAMConfig, width: int) -> Shapes:
    shapes: Shapes = {}
    banks = [("shared_", config.shared, int(config.shared != "none"))]
    banks.append(("", config.specialized, config.num_specialized))
    for which, kind, num in banks:
        if num:
            shapes[f"{which}bias"] = (num, width)
        if num and kind == "low_rank":
            shapes |= {f"{which}a_bias": (num, config.r), f"{which}n_bias": (num, config.r)}
    if config.num_specialized:
        shapes["router_bias"] = (config.num_specialized,)
    return shapes


class HyCAMNorm(HyCAMModule):
    """A layer norm with trained weights of its own (released code); they start as the backbone's."""

    adapter_layer_names = ("hycam_norm_weight", "hycam_norm_bias")  # (d,), (d,)

    @classmethod
    def shapes(cls, base_layer: nn.Module, config: HyCAMConfig, width: int) -> Shapes:
        return {f"hycam_norm_{name}": tuple(p.shape) for name, p in base_layer.named_parameters()}

    def update_layer(self, adapter_name: str, config: HyCAMConfig) -> None:
        """Add an adapter's copy of the norm's weights."""
        for name, parameter in self.base_layer.named_parameters():
            getattr(self, f"hycam_norm_{name}")[adapter_name] = nn.Parameter(parameter.detach().clone())
        self.configs[adapter_name] = config

    def forward(self, x: Tensor) -> Tensor:
        """The norm with the active adapter's weights."""
        active = [name for name in self.active_adapters if name in self.configs]
        if self.disable_adapters or not active:
            return self.base_layer(x)
        own = {
            name: getattr(self, f"hycam_norm_{name}")[active[-1]].to(parameter.dtype)
            for name, parameter in self.base_layer.named_parameters()
        }
        return torch.func.functional_call(self.base_layer, own, (x,))
