"""RieMoE-LoRA: the layer against the equation written with loops, its gradients, and its routing."""

import copy

import pytest
import torch
from peft import get_peft_model

from hycam_exp.methods.riemoe_lora import RieMoELoRAConfig, RieMoELoRALinear
from tests.methods.conftest import LAYERS, perturb, tiny, tokens

RANK, ALPHA, NUM, TOP_K, DELTA = 4, 6, 3, 2, 1e-6


def adapted(family: str = "llama", moved: bool = True, **changes):
    fields = {"r": RANK, "lora_alpha": ALPHA, "num_experts": NUM, "top_k": TOP_K, "regularisation": DELTA}
    model = get_peft_model(
        tiny(family, torch.float64), RieMoELoRAConfig(task_type="CAUSAL_LM", **{**fields, **changes})
    )
    if moved:
        perturb(model, scale=0.1)
    return model


def layers(model: torch.nn.Module) -> list[RieMoELoRALinear]:
    return [module for module in model.modules() if isinstance(module, RieMoELoRALinear)]


def parameters(layer: RieMoELoRALinear) -> list[torch.Tensor]:
    return [getattr(layer, name)["default"] for name in layer.adapter_layer_names]


def slow_layer(layer: RieMoELoRALinear, x: torch.Tensor, leaves: list[torch.Tensor]) -> torch.Tensor:
    """The equation with a loop over experts, the gate correction by autograd's own stop-gradient."""
    a, b, gate = leaves
    p = torch.softmax(x @ gate.T, -1)
    kept = p >= p.sort(-1, descending=True).values[..., TOP_K - 1 : TOP_K]
    g = torch.where(kept, p, 0.0) / torch.where(kept, p, 0.0).sum(-1, keepdim=True)
    total = layer.base_layer(x)
    for i in range(NUM):
        expert = ALPHA / RANK * x @ a[i].T @ b[i].T
        root = g[..., i : i + 1].detach().sqrt()
        total = total + root * expert + (g[..., i : i + 1] - root) * expert.detach()
    return total


def test_a_layer_computes_the_equation_and_its_gradients(family):
    """Output and gradients are the slow layer's, A's and B's multiplied by the inverse damped Gram matrices."""
    for layer in layers(adapted(family))[:7]:
        x = torch.randn(2, 5, layer.in_features, dtype=torch.float64)
        leaves = [p.detach().clone().requires_grad_() for p in parameters(layer)]
        expected = slow_layer(layer, x, leaves)
        found = layer(x)
        torch.testing.assert_close(found, expected)
        upstream = torch.randn_like(found)
        grad_a, grad_b, grad_gate = torch.autograd.grad(expected, leaves, upstream)
        a, b, _ = (leaf.detach() for leaf in leaves)
        eye = DELTA * torch.eye(RANK, dtype=torch.float64)
        for i in range(NUM):
            grad_a[i] = torch.linalg.inv(b[i].T @ b[i] + eye) @ grad_a[i]
            grad_b[i] = grad_b[i] @ torch.linalg.inv(a[i] @ a[i].T + eye)
        torch.testing.assert_close(
            torch.autograd.grad(found, parameters(layer), upstream), (grad_a, grad_b, grad_gate), rtol=1e-6, atol=1e-8
        )


def test_initial_a_and_gate_are_kaiming_uniform_and_b_is_zero():
    """Entries lie within 1 / sqrt(in), Kaiming uniform's bound for a = sqrt(5)."""
    for layer in layers(adapted(moved=False)):
        a, b, gate = parameters(layer)
        for matrix in (*a, gate):
            assert 0.7 / layer.in_features**0.5 < matrix.abs().max().item() <= 1 / layer.in_features**0.5
        assert not b.any()


def test_at_first_only_b_has_a_gradient(family):
    """B is zero, so that every expert's output is, and nothing reaches A and the gate in the first step."""
    model = adapted(family, moved=False).train()
    model(tokens()).logits.log_softmax(-1)[..., 0].sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.any() == ("riemoe_b" in name), name


def test_the_gradient_reaches_the_input_with_the_root_of_the_gate():
    """A layer's input gets the slow layer's gradient: sqrt(g) B A through the experts, and through the gate."""
    layer = layers(adapted())[0]
    x = torch.randn(2, 5, layer.in_features, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 5, layer.out_features, dtype=torch.float64)
    (found,) = torch.autograd.grad(layer(x), x, upstream)
    (expected,) = torch.autograd.grad(slow_layer(layer, x, parameters(layer)), x, upstream)
    torch.testing.assert_close(found, expected)


def test_a_copied_and_a_reloaded_model_have_the_same_gradients():
    """deepcopy and load_state_dict(assign=True) lose neither preconditioning nor gate correction."""
    model = adapted().train()
    reloaded = adapted(moved=False).train()
    reloaded.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    # An assigned tensor that was not a leaf's parameter is not trained until PEFT says so.
    reloaded.set_adapter("default")
    models = (model, copy.deepcopy(model), reloaded)
    for each in models:
        each(tokens()).logits.log_softmax(-1)[..., 0].sum().backward()
    for other in models[1:]:
        for (name, p), q in zip(model.named_parameters(), other.named_parameters(), strict=True):
            assert (p.grad is None) == (q[1].grad is None), name
            assert p.grad is None or torch.equal(p.grad, q[1].grad), name


def test_the_listener_hears_each_tokens_gate_weights(family):
    """Every wrapped layer hands over detached weights (B, L, N): k of them above zero, summing to one."""
    model = adapted(family).train()
    heard: list[torch.Tensor] = []
    for layer in layers(model):
        layer.routing_listener = heard.append
    expected = adapted(family).train()(tokens()).logits
    assert torch.equal(model(tokens()).logits, expected)
    assert len(heard) == 7 * LAYERS
    for g in heard:
        assert g.shape == (*tokens().shape, NUM)
        assert not g.requires_grad
        assert ((g > 0).sum(-1) == TOP_K).all()
        torch.testing.assert_close(g.sum(-1), torch.ones(tokens().shape, dtype=torch.float64))


def test_with_one_expert_a_token_the_gate_does_not_learn():
    """A single renormalised weight is 1 whatever the gate says, so that top_k = 1 leaves it where it was."""
    model = adapted(top_k=1).train()
    model(tokens()).logits.log_softmax(-1)[..., 0].sum().backward()
    gates = [p.grad for name, p in model.named_parameters() if "riemoe_gate" in name]
    assert len(gates) == 7 * LAYERS
    assert max(grad.abs().max().item() for grad in gates) < 1e-12


def test_merging_is_refused_with_the_reason():
    """No fixed weight equals an input-dependent gate."""
    model = adapted()
    for merge in (model.merge_and_unload, model.merge_adapter, layers(model)[0].merge, layers(model)[0].unmerge):
        with pytest.raises(ValueError, match="depends on the input"):
            merge()


def test_more_chosen_experts_than_there_are_is_refused():
    """The error names both numbers."""
    with pytest.raises(ValueError, match=r"^top_k=4: must be in 1\.\.num_experts=3"):
        adapted(top_k=NUM + 1)
