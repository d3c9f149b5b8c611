"""What holds for the field's stacked methods alike: their counts, their limit to LoRA, and their equations."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.methods import adapter_file
from hycam_exp.methods.comol import CoMoLConfig
from hycam_exp.methods.hydralora import HydraLoRAConfig
from hycam_exp.methods.loramoe import LoRAMoEConfig
from hycam_exp.methods.mixlora import MixLoRAConfig
from hycam_exp.methods.moelora import MOELoRAConfig
from hycam_exp.methods.mola import MoLAConfig
from hycam_exp.methods.mtl_lora import MTLLoRAConfig
from hycam_exp.methods.mtlora import MtLoRAConfig
from hycam_exp.methods.routed import RoutedLinear
from hycam_exp.models import causality
from tests.config.test_methods import LLAMA2_7B
from tests.methods.conftest import perturb, tiny, tokens

TASKS = ["code", "medical", "law"]
ALL_BUT_GATE_UP = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
EIGHT, SIXTEEN = [f"t{i}" for i in range(8)], [f"t{i}" for i in range(16)]
CONFIGS: dict[str, Any] = {
    "hydralora": HydraLoRAConfig(r=4, lora_alpha=8, num_heads=3),
    "comol": CoMoLConfig(r=4, lora_alpha=8, num_cores=3),
    "comol_of_x": CoMoLConfig(r=4, lora_alpha=8, num_cores=3, core_router=False),
    "mtl_lora": MTLLoRAConfig(r=4, lora_alpha=8, num_up=3, tasks=TASKS),
    "mtl_lora_diagonal": MTLLoRAConfig(r=4, lora_alpha=8, num_up=3, tasks=TASKS, diagonal=True),
    "moelora": MOELoRAConfig(r=4, lora_alpha=8, num_experts=2, tasks=TASKS),
    "loramoe": LoRAMoEConfig(r=4, lora_alpha=8, num_experts=4),
    "mola": MoLAConfig(r=4, lora_alpha=8, experts_by_depth=[2, 4], top_k=2),
    "mixlora": MixLoRAConfig(r=4, lora_alpha=8, num_experts=3, top_k=2),
    "mtlora": MtLoRAConfig(r=4, lora_alpha=8, num_experts=3, num_groups=2),
}


def adapted(name: str, family: str = "llama", moved: bool = True, dtype: torch.dtype = torch.float64) -> PeftModel:
    torch.manual_seed(0)
    config = CONFIGS[name]
    fields = {key: value for key, value in vars(config).items() if key in type(config).__dataclass_fields__}
    for key in ("peft_type", "auto_mapping", "base_model_name_or_path", "revision"):
        fields.pop(key, None)
    model = get_peft_model(tiny(family, dtype), type(config)(**{**fields, "task_type": "CAUSAL_LM"}))
    if moved:
        perturb(model, scale=0.2)
    return model


@pytest.fixture(params=CONFIGS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def llama2_7b() -> LlamaConfig:
    return LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (HydraLoRAConfig(r=8, num_heads=3, target_modules=["q_proj", "v_proj"]), 9_175_040),
        (HydraLoRAConfig(r=4, num_heads=4, target_modules=["gate_proj", "up_proj", "down_proj"]), 18_284_544),
        (HydraLoRAConfig(r=8, num_heads=5), 69_197_824),
        (CoMoLConfig(r=16, num_cores=8, target_modules=ALL_BUT_GATE_UP), 24_858_624),
        (CoMoLConfig(r=16, num_cores=8), 40_464_384),
        (MTLLoRAConfig(r=8, tasks=EIGHT, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]), 16_845_824),
        (MTLLoRAConfig(r=8, tasks=EIGHT[:5]), 41_821_472),
        (MOELoRAConfig(r=16, num_experts=8, tasks=EIGHT[:5]), 39_977_856),
        (MOELoRAConfig(r=16, num_experts=8, tasks=SIXTEEN), 39_978_560),
        (LoRAMoEConfig(r=4, num_experts=8), 51_314_688),
        (LoRAMoEConfig(r=4, num_experts=6), 38_486_016),
        (MoLAConfig(r=8), 105_635_840),
        (MixLoRAConfig(r=16), 203_423_744),
        (MixLoRAConfig(r=8), 102_236_160),
        (MtLoRAConfig(r=16), 39_845_888),
        (MoLAConfig(r=8, experts_by_depth=[8]), 169_017_344),
    ],
    ids=lambda value: getattr(value, "peft_type", value),
)
def test_counts_on_llama2_7b_are_those_of_the_papers(config, expected, llama2_7b):
    """On the meta device a method has as many parameters as its paper, or its authors' script, says."""
    with torch.device("meta"):
        model = get_peft_model(LlamaForCausalLM(llama2_7b), config)
    assert sum(p.numel() for name, p in model.named_parameters() if model.prefix in name) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (("method=hydralora", "method.rank=8"), 69_197_824),
        (("method=comol", "method.rank=16"), 40_464_384),
        (("method=mtl_lora", "method.rank=8", "method.num_up=5"), 63_581_664),
        (("method=moelora", "method.rank=8"), 19_989_120),
        (("method=loramoe", "method.rank=8", "method.num_experts=5"), 61_071_360),
        (("method=mola", "method.rank=8"), 105_635_840),
        (("method=mixlora", "method.rank=8", "method.num_experts=5"), 67_043_328),
        (("method=mtlora", "method.rank=8", "method.num_experts=5"), 7_602_176),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_closed_forms_on_llama2_7b(override, expected):
    """The settings' closed forms agree with it."""
    assert compose(*override).method.num_parameters(LLAMA2_7B) == expected


@pytest.mark.parametrize(
    "config",
    [
        HydraLoRAConfig(r=4, lora_alpha=8, num_heads=1),
        CoMoLConfig(r=4, lora_alpha=8, num_cores=1),
        MTLLoRAConfig(r=4, lora_alpha=8, num_up=1, tasks=["one"]),
        MOELoRAConfig(r=4, lora_alpha=8, num_experts=1, tasks=["one"]),
        LoRAMoEConfig(r=4, lora_alpha=8, num_experts=1, target_modules="all-linear"),
        MoLAConfig(r=4, lora_alpha=8, experts_by_depth=[1], top_k=1),
        MixLoRAConfig(r=4, lora_alpha=8, num_experts=1, top_k=1),
    ],
    ids=lambda config: config.peft_type,
)
def test_with_one_module_and_task_it_is_lora(config):
    """With N = 1, T = 1 and the small matrix the identity, it computes what PEFT's LoRA of the same A and B does."""
    config.task_type = "CAUSAL_LM"
    model = get_peft_model(tiny("llama"), config)
    perturb(model)
    lora = get_peft_model(tiny("llama"), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    found = dict(model.named_modules())
    for name, layer in lora.named_modules():
        if hasattr(layer, "lora_A"):
            tensors = {key: p.data for key, p in found[name].named_parameters() if model.prefix in key}
            a, b = (next(p for key, p in tensors.items() if f"_{letter}." in key) for letter in "ab")
            layer.lora_A["default"].weight.data = a.reshape(4, -1).clone()
            layer.lora_B["default"].weight.data = b.reshape(-1, 4).clone()
            for key, p in tensors.items():
                if key.split(".")[0].endswith(("_core", "_task")):
                    p.copy_(torch.eye(4, dtype=p.dtype)[None])
    torch.testing.assert_close(model.eval()(tokens()).logits, lora.eval()(tokens()).logits)


def test_a_row_alone_is_the_row_in_a_batch(method):
    """Nothing of one row is seen in another's logits."""
    model = adapted(method).eval()
    both = model(tokens()).logits
    torch.testing.assert_close(model(tokens()[1:]).logits, both[1:])


def test_it_leaves_a_backbone_causal(method):
    """The check before training finds nothing, and puts back the bits of what it moved."""
    model = adapted(method, dtype=torch.float32)
    before = {name: p.clone() for name, p in model.named_parameters()}
    causality.check_method(model, method)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_disabled_and_unloaded_the_backbone_is_back(method):
    """disable_adapter gives the backbone's logits; unload gives the backbone itself, without hooks."""
    expected = tiny("llama")(tokens()).logits
    model = adapted(method).eval()
    assert not torch.equal(model(tokens()).logits, expected)
    with model.disable_adapter():
        assert torch.equal(model(tokens()).logits, expected)
    backbone = model.unload()
    assert torch.equal(backbone(tokens()).logits, expected)
    assert not backbone._forward_hooks
    assert not backbone._forward_pre_hooks


def test_saved_and_loaded_beside_another_the_logits_are_the_same_bits(method, tmp_path):
    """What is saved is whole: loaded as a second adapter and activated it gives the same logits."""
    model = adapted(method).eval()
    model.save_pretrained(tmp_path)
    other = adapted(method, moved=False).eval()
    other.load_adapter(tmp_path, "second")
    other.set_adapter("second")
    assert torch.equal(other(tokens()).logits, model(tokens()).logits)
    assert torch.equal(adapter_file.load(tiny("llama"), tmp_path).eval()(tokens()).logits, model(tokens()).logits)


def test_it_cannot_be_merged(method):
    """Its weights depend on the token or the task, and the error says so."""
    model = adapted(method)
    for call in (model.merge_adapter, model.merge_and_unload, next(layers(model)).merge):
        with pytest.raises(ValueError, match="cannot be merged into the backbone: its weights depend on"):
            call()


def layers(model: PeftModel):
    return (module for module in model.modules() if isinstance(module, RoutedLinear))


def test_its_weights_are_heard_for_every_token(method):
    """A listener gets (B, L, N), which sums to 1."""
    model, heard = adapted(method).eval(), []
    for layer in layers(model):
        layer.routing_listener = heard.append
    model(tokens())
    assert heard[0].shape[:2] == tokens().shape
    torch.testing.assert_close(heard[0].sum(-1), torch.ones(tokens().shape, dtype=torch.float64))


def experts(layer: RoutedLinear, g: torch.Tensor, codes: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """scale sum_i g_i B_i code_i, one expert after the other."""
    parts = [g[..., i : i + 1] * (codes[i] @ b[i].T) for i in range(len(b))]
    return layer.config["default"].scale * torch.stack(parts).sum(0)


@pytest.mark.parametrize("name", ["hydralora", "comol", "comol_of_x", "loramoe", "mola"])
def test_the_update_is_the_papers_sum(name):
    """The stacked products equal the equation, one module after the other."""
    layer = list(layers(adapted(name)))[-1]
    x = torch.randn(2, 5, layer.in_features, dtype=torch.float64)
    if name.startswith("comol"):
        a, core, gate, b = layer.parameters_of("default")
        g = torch.softmax((x @ a.T if name == "comol" else x) @ gate.T, -1)
        codes, b = [x @ a.T @ core[i] for i in range(3)], b.expand(3, *b.shape)
    else:
        a, b, gate = layer.parameters_of("default")
        g = torch.softmax(x @ gate.T, -1)
        if name == "mola":
            assert len(b) == 4  # the last block's
            g = g.where(g >= g.topk(2).values[..., 1:], torch.zeros_like(g))
            g = g / g.sum(-1, keepdim=True)
        codes = [x @ (a if name == "hydralora" else a[i]).T for i in range(len(b))]
    torch.testing.assert_close(layer.update("default", x), experts(layer, g, codes, b))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("method=mola", "method.top_k=3"), r"method\.top_k=3: must be at most the fewest of .*\[2, 4, 6, 8\]"),
        (("method=mola", "method.experts_by_depth=[]"), r"method\.experts_by_depth=\[\]: must be numbers"),
        (("method=moelora", "method.rank=6"), r"method\.rank=6: must be divisible by method\.num_experts=4"),
        (("method=hydralora", "method.num_heads=0"), r"method\.num_heads=0: must be at least 1"),
        (("method=mtl_lora", "method.tau=0"), r"method\.tau=0.*: must be above 0"),
        (("method=mtl_lora", "method.tasks=[mine]"), r"method\.tasks=\[mine\]: method=mtl_lora is told the task"),
        (("method=moelora", "method.tasks=[a, a]"), r"method\.tasks=\[a, a\]: must name each task once"),
        (("method=mixlora", "method.top_k=9"), r"method\.top_k=9: must be in 1\.\.method\.num_experts=8"),
        (
            ("method=mixlora", "method.balance_scope=all"),
            r"method\.balance_scope=all: must be one of pooled, per_layer",
        ),
        (("method=mtlora", "method.spectral_weight=-1"), r"method\.spectral_weight=-1.*: must not be negative"),
        (("method=loramoe", "method.knowledge_tasks=[x]"), r"method\.knowledge_tasks=x: method\.tasks is \["),
        (("method=loramoe", "method.balance_weight=0.1"), r"method\.knowledge_tasks=\[\]: must name some"),
    ],
)
def test_what_cannot_be_is_refused_before_weights_are_loaded(overrides, message):
    """One line names the setting, its value and the law."""
    with pytest.raises(ValueError, match=message):
        compose(*overrides)


@pytest.mark.parametrize("config", [LoRAMoEConfig(), MixLoRAConfig(), MtLoRAConfig()], ids=lambda c: c.peft_type)
def test_an_mlp_is_wanted(config):
    """A backbone without modules that are MLPs by their class is refused with the way out."""
    model = tiny("llama")
    for block in model.model.layers:
        block.mlp = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"LlamaForCausalLM: no .*MLP recognised; name (it|them) with target_modules"):
        get_peft_model(model, config)
