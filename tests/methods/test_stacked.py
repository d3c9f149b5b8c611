"""What holds for every stacked method alike, on tiny random Llama, Mistral and Qwen2."""

import json
import warnings

import pytest
import torch
from peft import PeftModel, get_peft_model

from hycam_exp.config.methods import MultiLoRASettings, RieMoELoRASettings
from hycam_exp.methods import attach, auxiliary_loss
from hycam_exp.methods.multi_lora import MultiLoRAConfig
from hycam_exp.methods.riemoe_lora import RieMoELoRAConfig
from hycam_exp.methods.stacked import StackedLinear, kaiming, side_by_side
from tests.methods.conftest import LAYERS, VOCABULARY, perturb, tiny, tokens

RANK, NUM = 4, 3
CONFIGS = {
    "multi_lora": (MultiLoRAConfig, {"r": RANK, "lora_alpha": 2 * RANK, "num_modules": NUM}),
    "riemoe_lora": (RieMoELoRAConfig, {"r": RANK, "lora_alpha": 2 * RANK, "num_experts": NUM, "top_k": 2}),
}
SETTINGS = {
    "multi_lora": MultiLoRASettings(name="multi_lora", rank=20, alpha=10, num_modules=2),
    "riemoe_lora": RieMoELoRASettings(
        name="riemoe_lora", rank=20, alpha=10, num_experts=3, top_k=2, regularisation=1e-3
    ),
}


@pytest.fixture(params=CONFIGS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def adapted(method: str, family: str, moved: bool = True, dtype: torch.dtype = torch.float64, **changes):
    config, fields = CONFIGS[method]
    model = get_peft_model(tiny(family, dtype), config(task_type="CAUSAL_LM", **{**fields, **changes}))
    if moved:
        perturb(model, scale=0.1)
    return model


def layers(model: torch.nn.Module) -> list[StackedLinear]:
    return [module for module in model.modules() if isinstance(module, StackedLinear)]


def test_every_linear_layer_but_the_output_embedding_is_wrapped(method, family):
    """q, k, v, o, gate, up and down of every block, and nothing else."""
    found = [name for name, module in adapted(method, family).named_modules() if isinstance(module, StackedLinear)]
    assert len(found) == 7 * LAYERS
    assert not any("lm_head" in name for name in found)


def test_loaded_on_the_meta_device_first_the_logits_are_the_same_bits(method, tmp_path):
    """PEFT's low_cpu_mem_usage creates empty adapters and assigns the file's tensors."""
    model = adapted(method, "llama").eval()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny("llama"), tmp_path, low_cpu_mem_usage=True).eval()
    assert torch.equal(loaded(tokens()).logits, model(tokens()).logits)


def test_a_second_adapter_is_added_beside_the_first(method):
    """An adapter added later starts as the backbone and is trained alone once it is set; the first is as it was."""
    model = adapted(method, "llama").eval()
    first = model(tokens()).logits
    config, fields = CONFIGS[method]
    model.add_adapter("second", config(task_type="CAUSAL_LM", **{**fields, "r": 2}))
    assert torch.equal(model(tokens()).logits, first)
    model.set_adapter("second")
    assert torch.equal(model(tokens()).logits, tiny("llama")(tokens()).logits)
    assert all("second" in name for name, p in model.named_parameters() if p.requires_grad)
    model.set_adapter("default")
    model.delete_adapter("second")
    assert torch.equal(model(tokens()).logits, first)
    assert all("default" in name for name, p in model.named_parameters() if p.requires_grad)


def test_compiled_ahead_of_time_a_layers_gradients_are_the_eager_ones(method):
    """The hand-written backward passes survive AOT autograd, which traces them."""
    layer = layers(adapted(method, "llama"))[0]
    x = torch.randn(2, 5, layer.in_features, dtype=torch.float64)
    torch._dynamo.reset()
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
            layer.zero_grad()
            call(x).square().sum().backward()
            found.append([p.grad.clone() for p in layer.parameters() if p.requires_grad])
    for eager, traced in zip(*found, strict=True):
        torch.testing.assert_close(traced, eager)


def test_autocast_computes_in_its_dtype_and_keeps_float32_gradients(method):
    """Under torch.autocast a float32 layer gives bfloat16 near the float32 result, and finite float32 gradients."""
    layer = layers(adapted(method, "llama", dtype=torch.float32))[0]
    x = torch.randn(2, 5, layer.in_features)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)
    result.float().sum().backward()
    gradients = [p.grad for p in layer.parameters() if p.requires_grad]
    assert {g.dtype for g in gradients} == {torch.float32}
    assert all(g.isfinite().all() and g.any() for g in gradients)


def test_disabled_and_unloaded_the_backbone_is_back(method, family):
    """disable_adapter gives the backbone's logits; unload gives the backbone itself."""
    expected = tiny(family)(tokens()).logits
    model = adapted(method, family).eval()
    with model.disable_adapter():
        assert torch.equal(model(tokens()).logits, expected)
    assert not torch.equal(model(tokens()).logits, expected)
    backbone = model.unload()
    assert not layers(backbone)
    assert torch.equal(backbone(tokens()).logits, expected)


def test_targets_that_match_nothing_are_refused_with_what_there_is(method):
    """The error names what was asked for and the linear layers that the model has."""
    with pytest.raises(ValueError, match=r"'nothing'.*down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj"):
        adapted(method, "llama", target_modules=["nothing"])


def test_a_target_that_is_no_linear_layer_is_refused(method):
    """The error names the module, its type and the type that is wrapped."""
    with pytest.raises(ValueError, match=r"layers\.0\.input_layernorm, a LlamaRMSNorm: .* wraps torch\.nn\.Linear"):
        adapted(method, "llama", target_modules=["input_layernorm"])


def test_targets_and_exclusions_are_names_or_a_regular_expression(method):
    """target_modules and exclude_modules choose as in PEFT's own methods."""
    assert len(layers(adapted(method, "llama", target_modules=["q_proj", "v_proj"]))) == 2 * LAYERS
    assert len(layers(adapted(method, "llama", target_modules=r".*\.0\..*_proj"))) == 7
    assert len(layers(adapted(method, "llama", exclude_modules=["q_proj"]))) == 6 * LAYERS


def test_a_rank_above_a_layers_width_warns_with_the_layers_names(method):
    """k and v projections are 16 wide in the tiny models."""
    with pytest.warns(UserWarning, match=r"LoRA's rank 20 .* 4 layers: k_proj, v_proj"):
        attach(tiny("llama"), SETTINGS[method])


@pytest.mark.filterwarnings("ignore:.*rank 20 is above the width")
def test_attach_gives_what_the_settings_say(method, tmp_path):
    """The settings' values arrive in the saved adapter's config, and there is no auxiliary loss."""
    model = attach(tiny("llama"), SETTINGS[method])
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    words = {"rank": "r", "alpha": "lora_alpha"}
    expected = {
        words.get(key, key): value for key, value in vars(SETTINGS[method]).items() if key not in ("name", "match")
    }
    assert {key: saved[key] for key in expected} == expected
    assert saved["peft_type"] == method.upper()
    assert auxiliary_loss(model) is None


def test_without_init_weights_an_adapter_is_random_and_trains(method):
    """It is not the identity, no tensor stays zero, and every one of them has a gradient."""
    model = adapted(method, "llama", moved=False, init_weights=False)
    assert not torch.allclose(model(tokens()).logits, tiny("llama")(tokens()).logits)
    model(tokens(), labels=tokens()).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.any(), name
            assert parameter.grad.any(), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"r": 0}, "^r=0: must be at least 1"),
        ({"lora_alpha": 0}, "^lora_alpha=0: must be at least 1"),
        ({"rank": 4}, "^rank=4: .*Config calls it r now"),
        ({"alpha": 4}, "^alpha=4: .*Config calls it lora_alpha now"),
        (
            {"target_modules": ["mlp"]},
            r"target_modules names model\.layers\.0\.mlp, a LlamaMLP: .* wraps torch\.nn\.Linear",
        ),
        ({"target_modules": ["q_proj", "embed_tokens"]}, r"target_modules names model\.embed_tokens, a Embedding"),
    ],
)
def test_what_cannot_be_is_refused_by_name(method, fields, message):
    """The error names PEFT's field, or the module, and the model is as before."""
    model = tiny("llama")
    config, usual = CONFIGS[method]
    with pytest.raises(ValueError, match=message):
        get_peft_model(model, config(task_type="CAUSAL_LM", **{**usual, **fields}))
    assert not layers(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_kaiming_fills_each_matrix_by_its_own_fan_in():
    """Entries lie within 1 / sqrt(fan_in), Kaiming uniform's bound for a = sqrt(5), and reach for it."""
    stack = torch.zeros(NUM, 30, 16)
    kaiming(stack)
    for matrix in stack:
        assert 0.9 / 4 < matrix.abs().max().item() <= 1 / 4


def test_matrices_side_by_side_sum_over_the_stack():
    """[B_1 ... B_N] applied to the codes one after the other is the sum of B_i code_i."""
    torch.manual_seed(0)
    b, codes = torch.randn(NUM, VOCABULARY, RANK), torch.randn(NUM, RANK)
    expected = sum(b[i] @ codes[i] for i in range(NUM))
    torch.testing.assert_close(side_by_side(b) @ codes.flatten(), expected)
