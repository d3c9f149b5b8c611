"""MixLoRA: its mixture against experts computed one by one, and its load-balancing loss."""

import copy

import pytest
import torch
from peft import get_peft_model
from torch.nn import functional as F

from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.mixlora import MixLoRAConfig, MixLoRALinear
from tests.methods.conftest import perturb, tiny, tokens

NUM, TOP = 4, 2


def adapted(moved: bool = True, **changes):
    torch.manual_seed(0)
    fields = {"r": 4, "lora_alpha": 8, "num_experts": NUM, "top_k": TOP, "balance_weight": 0.5}
    model = get_peft_model(tiny("llama"), MixLoRAConfig(**{**fields, "task_type": "CAUSAL_LM"} | changes))
    if moved:
        perturb(model)
    return model


def router_of(mlp) -> torch.nn.Parameter:
    return mlp.gate_proj.mixlora_router["default"]


def test_an_mlp_is_the_sum_of_its_best_experts():
    """y = sum_k p_k W2'(SiLU(W1' h) * W3' h), each expert computed by itself with its own merged weights."""
    mlp = adapted().get_base_model().model.layers[1].mlp
    h = torch.randn(2, 5, 32, dtype=torch.float64)
    experts = []
    for e in range(NUM):
        w = {
            name: layer.base_layer.weight + 2 * layer.mixlora_b["default"][e] @ layer.mixlora_a["default"][e]
            for name, layer in mlp.named_children()
            if isinstance(layer, MixLoRALinear)
        }
        inner = F.silu(h @ w["gate_proj"].T) * (h @ w["up_proj"].T)
        experts.append(inner @ w["down_proj"].T)
    p = torch.softmax(h @ router_of(mlp).T, -1)
    best = p.topk(TOP)
    weights = torch.zeros_like(p).scatter(-1, best.indices, best.values / best.values.sum(-1, keepdim=True))
    expected = sum(weights[..., e : e + 1] * experts[e] for e in range(NUM))
    torch.testing.assert_close(mlp(h), expected)


@pytest.mark.parametrize("scope", ["pooled", "per_layer"])
def test_a_balanced_loss_is_its_weight_times_top_k(scope):
    """With a router of zeros P is even, so that a N sum F P = a k, whichever experts are chosen."""
    model = adapted(balance_scope=scope).train()
    for layer in model.get_base_model().model.layers:
        router_of(layer.mlp).data.zero_()
    model(tokens())
    assert auxiliary_loss(model).item() == pytest.approx(0.5 * TOP)


def test_the_loss_is_that_of_the_tokens_of_all_layers_pooled():
    """a N sum_i F_i P_i over the tokens of all layers; per layer it is the mean of the layers' own."""
    model, seen = adapted().train(), []
    for layer in model.get_base_model().model.layers:
        layer.mlp.register_forward_pre_hook(lambda mlp, args: seen.append((args[0], router_of(mlp))), prepend=True)
    model(tokens())
    p = [torch.softmax(h @ router.T, -1).flatten(0, 1) for h, router in seen]
    shares = [F.one_hot(each.topk(TOP).indices, NUM).sum(-2).double().mean(0) for each in p]
    means = [each.mean(0) for each in p]
    pooled = 0.5 * NUM * (torch.stack(shares).mean(0) * torch.stack(means).mean(0)).sum()
    torch.testing.assert_close(auxiliary_loss(model), pooled)
    other = adapted(balance_scope="per_layer").train()
    other(tokens())
    single = 0.5 * NUM * torch.stack([(f * m).sum() for f, m in zip(shares, means, strict=True)]).mean()
    torch.testing.assert_close(auxiliary_loss(other), single)


def test_padding_changes_neither_logits_nor_loss():
    """Rows behind padding on their right are the rows alone."""
    model = adapted().train()
    alone = model(tokens()).logits
    expected = auxiliary_loss(model)
    mask = F.pad(torch.ones_like(tokens()), (0, 4))
    padded = model(F.pad(tokens(), (0, 4)), attention_mask=mask).logits
    torch.testing.assert_close(padded[:, : tokens().shape[1]], alone)
    torch.testing.assert_close(auxiliary_loss(model), expected)


def test_an_expert_without_tokens_has_a_gradient_of_zero():
    """It is in the graph, so that data-parallel ranks agree on what has a gradient."""
    model = adapted().train()
    for layer in model.get_base_model().model.layers:
        router_of(layer.mlp).data.zero_()  # ties: the same experts for every token
    model(tokens(), labels=tokens()).loss.backward()
    used = [
        layer.mlp.up_proj.mixlora_b["default"].grad.flatten(1).any(1) for layer in model.get_base_model().model.layers
    ]
    assert [int(each.sum()) for each in used] == [TOP] * len(used)


def test_a_copy_after_training_is_a_model_of_its_own():
    """Nothing of the last forward's graph is copied, and the copy's hooks read its own router."""
    model = adapted().train()
    model(tokens())
    other = copy.deepcopy(model).eval()
    expected = model.eval()(tokens()).logits
    assert torch.equal(other(tokens()).logits, expected)
    perturb(other)
    assert not torch.allclose(other(tokens()).logits, expected)
    assert torch.equal(model(tokens()).logits, expected)


def test_an_mlp_of_which_some_layers_are_left_out_is_refused():
    """An expert is the whole MLP."""
    with pytest.raises(ValueError, match=r"target_modules=.*must target all linear layers of model\.layers\.0\.mlp"):
        adapted(target_modules=["q_proj", "up_proj"])
    attention = adapted(target_modules=["q_proj", "v_proj"])
    assert not [name for name, _ in attention.named_parameters() if "router" in name]
