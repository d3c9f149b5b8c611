"""mtLoRA: its update by groups, its balance loss, and the spectral term."""

import pytest
import torch
from peft import get_peft_model

from hycam_exp.config.compose import compose
from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.mtlora import MtLoRAConfig, spectral_term
from tests.methods.conftest import perturb, tiny, tokens

NUM, GROUPS, WIDTH = 3, 2, 32


def adapted(moved: bool = True, **changes):
    torch.manual_seed(0)
    fields = {"r": 4, "lora_alpha": 8, "num_experts": NUM, "num_groups": GROUPS}
    model = get_peft_model(tiny("llama"), MtLoRAConfig(**{**fields, "task_type": "CAUSAL_LM"} | changes))
    if moved:
        perturb(model)
    return model


def test_each_dimension_has_its_groups_weights():
    """Delta(u)_j = s sum_i P_i,group(j)(u) (B_i A u)_j, a dimension after the other."""
    layer = adapted().get_base_model().model.layers[1].mlp
    a, b, router = layer.parameters_of("default")
    u = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    p = torch.softmax((u @ router.T).unflatten(-1, (GROUPS, NUM)), -1)
    each = [
        sum(2 * p[..., j * GROUPS // WIDTH, i] * (u @ a.T @ b[i, j]) for i in range(NUM))  # (2, 5)
        for j in range(WIDTH)
    ]
    expected = torch.stack(each, -1)
    torch.testing.assert_close(layer.update("default", u), expected)
    torch.testing.assert_close(layer(u), layer.base_layer(u) + expected)


def test_with_one_expert_and_group_it_is_a_low_rank_layer_beside_the_mlp():
    """P = 1: y = F(u) + s B A u."""
    layer = adapted(num_experts=1, num_groups=1).get_base_model().model.layers[0].mlp
    a, b, _ = layer.parameters_of("default")
    u = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(layer(u), layer.base_layer(u) + 2 * u @ a.T @ b[0].T)


def test_an_even_router_has_no_balance_loss():
    """The squared coefficient of variation of even means is 0; that of one expert for all, N - 1."""
    model = adapted(balance_weight=0.5).train()
    for layer in model.get_base_model().model.layers:
        layer.mlp.mtlora_router["default"].data.zero_()
    model(tokens())
    assert auxiliary_loss(model).item() == pytest.approx(0.0, abs=1e-12)
    for layer in model.get_base_model().model.layers:
        layer.mlp.register_forward_pre_hook(lambda mlp, args: (torch.ones_like(args[0]),))
        layer.mlp.mtlora_router["default"].data[::NUM] = 10.0
    model(tokens())
    assert auxiliary_loss(model).item() == pytest.approx(0.5 * (NUM - 1))


def test_the_spectral_term_on_a_matrix_worked_out_by_hand():
    """Of B = diag(3, 1) c = 5 and w = exp(-(1.5, 0.5)): w_1^4 (9 - 5)^2 + w_2^4 (1 - 5)^2; it is 0 at B = 0."""
    b = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))[None]
    w = torch.tensor([-1.5, -0.5], dtype=torch.float64).exp()
    torch.testing.assert_close(spectral_term(b), 16 * (w**4).sum())
    zero = torch.zeros(2, 5, 3, requires_grad=True)
    spectral_term(zero).backward()
    assert spectral_term(zero).item() == 0
    assert not zero.grad.any()


def test_the_spectral_term_is_trained_where_it_is_asked_for():
    """It is the mean over layers, weighted, beside the balance loss."""
    model = adapted(balance_weight=0.0, spectral_weight=0.3).train()
    model(tokens())
    terms = [spectral_term(layer.mlp.mtlora_b["default"]) for layer in model.get_base_model().model.layers]
    torch.testing.assert_close(auxiliary_loss(model), 0.3 * torch.stack(terms).mean())


def test_groups_that_do_not_divide_the_width_are_refused():
    """Before weights are loaded by the settings, and by PEFT's config when it is attached."""
    with pytest.raises(ValueError, match=r"method\.num_groups=5: must divide the backbone's width 32"):
        compose("method=mtlora", "method.num_groups=5").method.check_width(WIDTH)
    with pytest.raises(ValueError, match="num_groups=5: must divide the model's hidden size 32"):
        adapted(num_groups=5)


def test_what_is_no_mlp_is_refused():
    """The error names the module and its type."""
    with pytest.raises(ValueError, match=r"target_modules names model\.layers\.0\.self_attn, a LlamaAttention"):
        adapted(target_modules=["self_attn"])
