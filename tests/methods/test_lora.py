"""LoRA is PEFT's own."""

import pytest
import torch
from peft.tuners.lora import LoraLayer

from hycam_exp.config.methods import LoRASettings
from hycam_exp.methods import attach, auxiliary_loss
from tests.methods.conftest import LAYERS, VOCABULARY, WIDTH, tiny, tokens


def test_every_linear_layer_but_the_output_embedding_gets_lora(family):
    """q, k, v, o, gate, up and down of every block, and nothing else."""
    model = attach(tiny(family), LoRASettings(name="lora", rank=4, alpha=4))
    found = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    assert len(found) == 7 * LAYERS
    assert not any("lm_head" in name for name in found)


def test_the_update_is_alpha_over_rank_b_a(family):
    """A layer's output is W x + (alpha / rank) B A x."""
    model = attach(tiny(family), LoRASettings(name="lora", rank=4, alpha=8)).eval()
    layer = next(m for m in model.modules() if isinstance(m, LoraLayer))
    layer.lora_B["default"].weight.data.normal_()
    x = torch.randn(3, WIDTH, dtype=torch.float64)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 8 / 4 * x @ a.T @ b.T)


def test_output_equals_the_backbones_at_initialisation(family):
    """B is zero at first."""
    model = attach(tiny(family), LoRASettings(name="lora", rank=4, alpha=4)).eval()
    assert torch.equal(model(tokens()).logits, tiny(family)(tokens()).logits)
    assert model(tokens()).logits.shape[-1] == VOCABULARY


def test_a_rank_above_a_layers_width_warns_with_the_layers_names():
    """k and v projections are 16 wide in the tiny models."""
    with pytest.warns(UserWarning, match=r"rank 20 .* 4 layers: k_proj, v_proj"):
        attach(tiny("llama"), LoRASettings(name="lora", rank=20, alpha=20))


def test_lora_has_no_auxiliary_loss():
    """None says that there is none; zero would be a number."""
    assert auxiliary_loss(attach(tiny("llama"), LoRASettings(name="lora", rank=4, alpha=4))) is None
