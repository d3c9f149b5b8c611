"""MOELoRA as a PEFT method: a LoRA cut into small experts on every linear layer, weighed by a gate that sees the task.

See: Liu et al. 2024, arXiv 2310.18339, and the authors' liuqidong07/MOELoRA-peft (MIT). Written from the equations.

    model = get_peft_model(model, MOELoRAConfig(r=16, lora_alpha=32, num_experts=8, tasks=["a", "b"]))
    model(input_ids, task_index=torch.tensor([0, 1]))

As in what the authors run, one gate serves all layers; it stands in the first. Where it departs from their code: a row
of an unknown task gets the mean of the tasks' embeddings, which is their rule for a row of several tasks; no dropout.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional as F

from hycam_exp.config.multi_task import MOELoRASettings
from hycam_exp.methods.adapter_file import require
from hycam_exp.methods.bridge import register
from hycam_exp.methods.routed import RoutedLinear, RoutedModel, attach_stack, in_pefts_words, mix, softmax
from hycam_exp.methods.routing import router_logits
from hycam_exp.methods.stacked import StackedConfig, kaiming

A_DEVIATION = 0.01


@dataclass
class MOELoRAConfig(StackedConfig):
    """MOELoRA's settings for PEFT; the defaults are the authors', but for the rank."""

    at_least_one: ClassVar[tuple[str, ...]] = ("r", "lora_alpha", "num_experts", "embedding")

    num_experts: int = 4
    tasks: list[str] = field(default_factory=list)
    """The names that a task index counts."""
    embedding: int = 64
    """Width of a task's embedding."""
    owns_gate: ClassVar[bool] = True
    """Of a layer's config: the gate stands in it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType("MOELORA")
        require(self.r % self.num_experts == 0, "r", self.r, f"must be divisible by num_experts={self.num_experts}")
        require(0 < len(self.tasks) == len(set(self.tasks)), "tasks", self.tasks, "must name the tasks, each once")

    def at(self, position: int, block: int, num_blocks: int) -> "StackedConfig":
        """The first layer alone has the gate."""
        return self.placed(owns_gate=position == 0)


class MOELoRALinear(RoutedLinear):
    """y = W x + (alpha / r) sum_i g_ti B_i A_i x with g_t = softmax(G e_t), t being the row's task; W is out x in.

    Trains r (in + out) parameters for N experts of rank r / N; the gate, for all layers, (T + 1 + N) embeddings. The
    embeddings' row 0 is the authors' padding task, which no row is of.
    """

    adapter_layer_names = ("moelora_a", "moelora_b", "moelora_embedding", "moelora_gate")
    moelora_gate: nn.ParameterDict
    gate_owner: "tuple[MOELoRALinear, ...]"
    """The layer that the gate stands in, in a tuple so that it is no submodule."""

    @staticmethod
    def shapes(base_layer: nn.Linear, config: MOELoRAConfig) -> tuple[tuple[int, ...] | None, ...]:
        num, r, width = config.num_experts, config.r // config.num_experts, config.embedding
        factors = (num, r, base_layer.in_features), (num, base_layer.out_features, r)
        gate = (len(config.tasks) + 1, width), (num, width)
        return (*factors, *gate) if config.owns_gate else (*factors, None, None)

    def initialise(self, adapter_name: str) -> None:
        """A normal with deviation 0.01, embeddings standard normal, the gate Kaiming uniform; B stays zero."""
        a, b, *gate = self.parameters_of(adapter_name)
        nn.init.normal_(a.data, std=A_DEVIATION)
        if gate:
            nn.init.normal_(gate[0].data)
            kaiming(gate[1].unsqueeze(0))
        if not self.config[adapter_name].init_weights:
            kaiming(b)

    def update(self, adapter_name: str, x: Tensor) -> Tensor:
        a, b, *_ = self.parameters_of(adapter_name)
        (owner,) = self.gate_owner
        embedding, gate = (getattr(owner, name)[adapter_name] for name in self.adapter_layer_names[2:])
        of_row = self.forward_state.for_rows(embedding[1:])  # (B, E)
        g = self.heard(softmax(router_logits(of_row, gate)).unsqueeze(-2), x)  # (B, 1, N)
        codes = self.config[adapter_name].scale * F.linear(x, a.flatten(0, 1)).unflatten(-1, a.shape[:2])
        return mix(codes, g.to(x.device), b)  # (B, L, out)


class MOELoRAModel(RoutedModel):
    """The tuner of MOELoRA."""

    prefix = "moelora_"
    tuner_layer_cls = MOELoRALinear

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        layers = [module for module in model.modules() if isinstance(module, MOELoRALinear)]
        owners = [layer for layer in layers if adapter_name in layer.moelora_gate]
        first = getattr(layers[0], "gate_owner", tuple(owners))[0]
        config = self.peft_config[adapter_name]
        assert isinstance(config, MOELoRAConfig)
        law = "an adapter beside another must target the layer that this one's gate stands in, its first"
        require(owners == [first], "target_modules", config.target_modules, law)
        for layer in layers:
            layer.gate_owner = (first,)


def peft_config(settings: MOELoRASettings) -> MOELoRAConfig:
    """A cell's settings in PEFT's words."""
    return in_pefts_words(MOELoRAConfig, settings)


def attach(model: nn.Module, settings: MOELoRASettings) -> nn.Module:
    """The model with MOELoRA on every linear layer but the output embedding; warns as LoRA does."""
    return attach_stack(model, peft_config(settings), "MOELoRA", MOELoRALinear)


register("moelora", MOELoRAConfig, MOELoRAModel)
