"""HyCAM's settings for PEFT: what is refused, and by which name."""

import pytest
from peft import get_peft_model

from hycam_exp.methods.hycam import HyCAMConfig
from tests.methods.conftest import tiny


def config(**changes) -> HyCAMConfig:
    return HyCAMConfig(**{"r": 4, "num_specialized": 3, "task_type": "CAUSAL_LM", **changes})


@pytest.mark.parametrize(("field", "value"), [("r", 0), ("tau", 0.0), ("num_specialized", -1), ("balance_weight", -1)])
def test_values_that_break_a_law_are_refused(field, value):
    """The error names the field and its value."""
    with pytest.raises(ValueError, match=rf"^{field}={value}"):
        config(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shared", "half"),
        ("specialized", "none"),
        ("modulate", "all"),
        ("router_init", "zeros"),
        ("balance_scope", "all"),
    ],
)
def test_choices_that_are_none_are_refused(field, value):
    """The error names the field and its value."""
    with pytest.raises(ValueError, match=rf"^{field}={value}"):
        config(**{field: value})


def test_nothing_to_train_is_refused():
    """Neither a shared nor a specialized module: the error names both fields."""
    with pytest.raises(ValueError, match=r"shared=none: with num_specialized=0"):
        config(shared="none", num_specialized=0)


TARGETS = {
    "all-linear": r"target_modules=all-linear: HyCAM modulates attention",
    ("lm_head",): r"matches lm_head, a Linear: .* LlamaForCausalLM are self_attn",
    ("q_proj",): r"matches model\.layers\.0\.self_attn\.q_proj, a Linear",
    ("mlp",): r"matches model\.layers\.0\.mlp, a LlamaMLP",
    ("self_attn", "mlp"): r"matches model\.layers\.0\.mlp, a LlamaMLP",
    r".*layers\.1": r"matches model\.layers\.1, a LlamaDecoderLayer",
    ("input_layernorm",): r"matches model\.layers\.0\.input_layernorm, a LlamaRMSNorm",
}


@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_targets_that_are_no_attention_are_refused(targets):
    """The error names the module and its class, and the model is as before."""
    model = tiny("llama")
    before = {
        name: (type(module), p.requires_grad) for name, module in model.named_modules() for p in module.parameters()
    }
    with pytest.raises(ValueError, match=TARGETS[targets]):
        get_peft_model(model, config(target_modules=targets if isinstance(targets, str) else list(targets)))
    after = {
        name: (type(module), p.requires_grad) for name, module in model.named_modules() for p in module.parameters()
    }
    assert after == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers_pattern": "layers"}, "layers_pattern=layers: needs layers_to_transform"),
        ({"layers_to_transform": [1, 1]}, r"layers_to_transform=\[1, 1\]: must name blocks, each once"),
        ({"layers_to_transform": [1], "target_modules": ".*"}, "layers_to_transform.*: needs target_modules by their"),
        ({"rank": 4}, r"rank=4: HyCAMConfig calls it r now; rename it in adapter_config\.json, or train"),
        ({"layers": [0]}, r"layers=\[0\]: HyCAMConfig calls it layers_to_transform now"),
        ({"routing": {}}, "routing={}: HyCAMConfig calls it hard_routing, noise_in_eval, train_router and router_init"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields, message):
    """As PEFT's own configs do, by name; so are the names of earlier versions."""
    with pytest.raises(ValueError, match=message):
        config(**fields)
