"""Multi-LoRA: the equation, its first step, and merging."""

import copy

import pytest
import torch
from peft import get_peft_model

from hycam_exp.methods.multi_lora import MultiLoRAConfig, MultiLoRALinear
from tests.methods.conftest import perturb, tiny, tokens

RANK, ALPHA, NUM = 4, 6, 3


def adapted(family: str = "llama", moved: bool = True, dtype: torch.dtype = torch.float64):
    config = MultiLoRAConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, num_modules=NUM)
    model = get_peft_model(tiny(family, dtype), config)
    if moved:
        perturb(model, scale=0.1)
    return model


def layers(model: torch.nn.Module) -> list[MultiLoRALinear]:
    return [module for module in model.modules() if isinstance(module, MultiLoRALinear)]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [layer.base_layer.weight.detach().clone() for layer in layers(model)]


def test_a_layer_computes_the_equation(family):
    """W x + (alpha / r) sum_i s_i (.) (B_i A_i x), written with a loop; Qwen2's q, k and v have a bias."""
    for layer in layers(adapted(family))[:7]:
        x = torch.randn(2, 5, layer.in_features, dtype=torch.float64)
        a, b, s = (getattr(layer, name)["default"] for name in layer.adapter_layer_names)
        expected = layer.base_layer(x)
        for i in range(NUM):
            expected = expected + ALPHA / RANK * s[i] * (x @ a[i].T @ b[i].T)
        torch.testing.assert_close(layer(x), expected)


def test_at_first_only_s_has_a_gradient(family):
    """s is zero, so that nothing reaches A and B in the first step."""
    model = adapted(family, moved=False).train()
    model(tokens()).logits.log_softmax(-1)[..., 0].sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.any() == ("multilora_s" in name), name


def test_initial_a_and_b_are_kaiming_uniform_and_s_is_zero():
    """Entries lie within 1 / sqrt(fan_in), which is in for A and r for B."""
    for layer in layers(adapted(moved=False)):
        a, b, s = (getattr(layer, name)["default"] for name in layer.adapter_layer_names)
        for matrices, fan_in in ((a, layer.in_features), (b, RANK)):
            for matrix in matrices:
                assert 0.7 / fan_in**0.5 < matrix.abs().max().item() <= 1 / fan_in**0.5
        assert not s.any()


@pytest.mark.parametrize("safe", [False, True])
def test_merged_the_logits_are_the_same(family, safe):
    """W + (alpha / r) sum_i diag(s_i) B_i A_i is the adapted layer; unmerging restores W."""
    model = adapted(family).eval()
    expected, before = model(tokens()).logits, weights(model)
    model.merge_adapter(safe_merge=safe)
    torch.testing.assert_close(model(tokens()).logits, expected)
    assert not any(torch.equal(new, old) for new, old in zip(weights(model), before, strict=True))
    model.unmerge_adapter()
    torch.testing.assert_close(weights(model), before, rtol=0, atol=1e-15)
    torch.testing.assert_close(model(tokens()).logits, expected)


def test_merged_and_unloaded_the_backbone_alone_gives_the_logits(family):
    """merge_and_unload leaves a plain model."""
    model = adapted(family).eval()
    expected = model(tokens()).logits
    plain = model.merge_and_unload(safe_merge=True)
    assert not layers(plain)
    torch.testing.assert_close(plain(tokens()).logits, expected)


def test_merging_at_initialisation_changes_no_bit():
    """A zero update leaves the weights as they are, in bfloat16 as well."""
    model = adapted(moved=False, dtype=torch.bfloat16)
    before = weights(model)
    model.merge_adapter()
    assert all(torch.equal(new, old) for new, old in zip(weights(model), before, strict=True))
    assert {weight.dtype for weight in weights(model)} == {torch.bfloat16}


def test_a_merged_adapter_disabled_is_the_backbone():
    """disable_adapter takes a merged update out again."""
    model = adapted().eval()
    model.merge_adapter()
    with model.disable_adapter():
        torch.testing.assert_close(model(tokens()).logits, tiny("llama")(tokens()).logits)


def test_a_broken_adapter_is_not_merged_safely():
    """safe_merge refuses what is not finite, names the adapter and leaves the weight alone."""
    layer = layers(adapted())[0]
    before = copy.deepcopy(layer.base_layer.weight)
    layer.multilora_s["default"].data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaNs detected in the merged weights\. The adapter default seems"):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, before)
    assert not layer.merged
