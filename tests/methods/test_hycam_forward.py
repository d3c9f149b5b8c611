"""The padding mask and the balance loss, however the base model's forward is called, and whoever computes the loss."""

import copy
import pickle

import pytest
import torch
from peft import get_peft_model, inject_adapter_in_model
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from transformers import Trainer, TrainingArguments

from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.methods.hycam_forward import ForwardHooks
from hycam_exp.methods.hycam_layer import HyCAMLayer
from tests.methods.conftest import perturb, tiny, tokens

WEIGHT = 10.0  # so that a loss without it is told at a glance
MASK = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*is deprecated:FutureWarning")


def config(**changes) -> HyCAMConfig:
    fields = {"r": 4, "num_specialized": 3, "balance_weight": WEIGHT, "task_type": "CAUSAL_LM"}
    return HyCAMConfig(**{**fields, **changes})


def injected_by_transformers(**changes):
    model = tiny("llama")
    model.add_adapter(config(**changes))
    return model


WAYS = {
    "get_peft_model": lambda **changes: get_peft_model(tiny("llama"), config(**changes)),
    "inject_adapter_in_model": lambda **changes: inject_adapter_in_model(config(**changes), tiny("llama")),
    "add_adapter": injected_by_transformers,
}


@pytest.fixture(params=WAYS)
def attached(request):
    """How HyCAM comes to be in a model."""

    def make(**changes):
        model = WAYS[request.param](**changes)
        perturb(model)
        return model.train()

    return make


@pytest.fixture
def model():
    """One of them, off its initial values, in training."""
    found = WAYS["get_peft_model"]()
    perturb(found)
    return found.train()


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr("hycam_exp.methods.hycam_layer.gumbel_noise", torch.zeros_like)


def layers(model) -> list[HyCAMLayer]:
    return [module for module in model.modules() if isinstance(module, HyCAMLayer)]


def expected_balance(model) -> float:
    """lambda times the mean over layers of sum_k mean(p_k) mean(softmax(logits)_k), from what the layers kept."""
    means = [layer.balance_means["default"] for layer in layers(model)]
    return WEIGHT * sum((m[0] * m[1]).sum().item() for m in means) / len(means)


def task_loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("return_dict", [True, False])
def test_labels_add_the_balance_loss_however_hycam_came_in(attached, return_dict):
    """The loss is the task loss plus the weighted balance loss of the tokens that are not padding."""
    model = attached()
    outputs = model(tokens(), attention_mask=MASK, labels=tokens(), return_dict=return_dict)
    loss, logits = outputs[0], outputs[1]
    assert all(torch.equal(layer.token_mask, MASK) for layer in layers(model))
    assert loss.item() == pytest.approx(task_loss(logits, tokens()).item() + expected_balance(model), rel=1e-6)
    assert auxiliary_loss(model).item() == pytest.approx(expected_balance(model), rel=1e-12)
    loss.backward()
    assert all(layer.hycam_router["default"].grad.any() for layer in layers(model))


def test_generation_in_training_after_a_masked_forward(attached):
    """GRPO's order: forward, generate with another mask, forward; the last counts its own tokens."""
    model = attached()
    model(tokens(), attention_mask=MASK, labels=tokens())
    prompt = tokens(rows=3, length=5)
    options = {"max_new_tokens": 3, "do_sample": False, "use_cache": True, "eos_token_id": None}
    generated = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **options)
    assert generated.shape == (3, 8)
    model(tokens(), attention_mask=MASK)
    assert all(torch.equal(layer.token_mask, MASK) for layer in layers(model))


def test_a_decoded_token_counts_by_its_own_place_in_the_mask(model, no_noise, monkeypatch):
    """With a cache the mask is of all tokens so far, and its last column that of the token."""
    seen = []
    monkeypatch.setattr("hycam_exp.methods.hycam_layer.token_means", lambda p, logits, mask: seen.append(mask) or p[0])
    past = model(tokens(), attention_mask=MASK, use_cache=True).past_key_values
    model(tokens()[:, :1], attention_mask=F.pad(MASK, (0, 1)), past_key_values=past)
    assert torch.equal(seen[0], MASK)
    assert torch.equal(seen[-1], torch.zeros(2, 1, dtype=torch.long))


def test_a_mask_by_position_or_in_a_dict(model, no_noise):
    """By position it counts as by name; a dict of masks by kind of attention has no mask of tokens, and none counts."""
    model.base_model.model(tokens(), MASK)
    assert all(torch.equal(layer.token_mask, MASK) for layer in layers(model))
    model = get_peft_model(tiny("qwen2"), config()).train()
    causal = torch.ones(9, 9).tril().bool()[None, None].expand(2, 1, 9, 9)
    model(tokens(), attention_mask={"full_attention": causal}, labels=tokens()).loss.backward()
    assert all(layer.token_mask is None for layer in layers(model))


def test_an_evaluation_lets_the_training_forward_go(model):
    """Nothing of it is kept: there is no balance loss of an evaluation."""
    model(tokens(), labels=tokens())
    model.eval()(tokens())
    assert auxiliary_loss(model) is None
    assert all(layer.token_mask is None for layer in layers(model))


def test_a_reference_forward_between_leaves_the_adapters_state(model):
    """With adapters disabled, as DPO's reference is computed, the training forward's mask and means stay."""
    model(tokens(), attention_mask=MASK)
    before = expected_balance(model)
    with model.disable_adapter():
        loss = model(tokens(), labels=tokens()).loss
    assert torch.equal(loss, tiny("llama").train()(tokens(), labels=tokens()).loss)
    assert auxiliary_loss(model).item() == pytest.approx(before, rel=1e-12)
    assert all(torch.equal(layer.token_mask, MASK) for layer in layers(model))


# A loss that others compute


def test_a_loss_without_the_balance_loss_is_said_once(attached):
    """Where a backward pass comes from the outputs and not from the balance loss, one warning names the way out."""
    model = attached()
    with pytest.warns(UserWarning, match=r"auxiliary_loss\(model\).*balance_weight=0"):
        task_loss(model(tokens()).logits, tokens()).backward()
    task_loss(model(tokens()).logits, tokens()).backward()  # warnings are errors here


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_loss_with_it_is_not_warned_of(attached, with_labels):
    """Neither the outputs' own loss nor a loss with `auxiliary_loss` is; nor is a balance loss without weight."""
    model = attached()
    if with_labels:
        model(tokens(), labels=tokens()).loss.backward()
    else:
        (task_loss(model(tokens()).logits, tokens()) + auxiliary_loss(model)).backward()
    light = attached(balance_weight=0.0)
    task_loss(light(tokens()).logits, tokens()).backward()


def test_labels_whose_loss_is_not_used_are_warned_of(model):
    """The outputs' loss holds the balance loss, and another one is trained."""
    outputs = model(tokens(), labels=tokens())
    with pytest.warns(UserWarning, match="balance loss is no part"):
        task_loss(outputs.logits, tokens()).backward()


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
def test_in_hfs_trainer_a_loss_of_ones_own_is_warned_of(tmp_path, smoothing):
    """Label smoothing and compute_loss_func see the outputs alone; with auxiliary_loss in it nothing is said."""
    model = get_peft_model(tiny("llama", torch.float32), config())
    own = None if smoothing else lambda outputs, labels, num_items_in_batch=None: task_loss(outputs.logits, labels)
    with pytest.warns(UserWarning, match="balance loss is no part"):
        trainer(model, tmp_path, own, label_smoothing_factor=smoothing).train()


def test_in_hfs_trainer_auxiliary_loss_in_ones_own_loss_is_the_way_out(tmp_path):
    """Then nothing is said, and the router moves."""
    model = get_peft_model(tiny("llama", torch.float32), config())
    before = [layer.hycam_router["default"].detach().clone() for layer in layers(model)]
    trainer(
        model,
        tmp_path,
        lambda outputs, labels, num_items_in_batch=None: task_loss(outputs.logits, labels) + auxiliary_loss(model),
    ).train()
    assert not any(
        torch.equal(layer.hycam_router["default"], old) for layer, old in zip(layers(model), before, strict=True)
    )


def trainer(model, folder, compute_loss_func=None, **changes) -> Trainer:
    options = {
        "output_dir": str(folder), "max_steps": 1, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "use_cpu": True, "seed": 7,
    }  # fmt: skip
    return Trainer(
        model=model,
        args=TrainingArguments(**options, **changes),
        train_dataset=[{"input_ids": row, "labels": row} for row in tokens()],
        compute_loss_func=compute_loss_func,
    )


# Re-entrant activation checkpointing


def test_reentrant_checkpointing_is_said_once_and_refused_where_the_balance_loss_is_asked_for(model):
    """The first forward has no graph inside: a loss with labels warns, `auxiliary_loss` is an error."""
    model.gradient_checkpointing_enable({"use_reentrant": True})
    model.enable_input_require_grads()
    with pytest.warns(UserWarning, match=r"'use_reentrant': False"):
        model(tokens(), labels=tokens(), use_cache=False).loss.backward()
    model(tokens(), labels=tokens(), use_cache=False).loss.backward()  # warnings are errors here
    model(tokens(), use_cache=False)
    with pytest.raises(ValueError, match=r"re-entrant activation checkpointing.*'use_reentrant': False"):
        auxiliary_loss(model)


def test_checkpointing_that_is_not_reentrant_trains_the_balance_loss(model, no_noise):
    """Its gradients are those without checkpointing."""
    model(tokens(), attention_mask=MASK, labels=tokens()).loss.backward()
    expected = gradients(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(tokens(), attention_mask=MASK, labels=tokens(), use_cache=False).loss.backward()
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


# Copies, and what is left behind


def test_a_copy_after_a_training_step_stands_alone(attached):
    """deepcopy, AveragedModel and pickle take weights and hooks, and no graph; a copy's hooks are about the copy."""
    model = attached()
    model(tokens(), attention_mask=MASK, labels=tokens()).loss.backward()
    copies = [copy.deepcopy(model), AveragedModel(model).module, pickle.loads(pickle.dumps(model))]
    for other in copies:
        assert auxiliary_loss(other) is None
        other.zero_grad()
        torch.manual_seed(4)
        loss = other.train()(tokens(), attention_mask=MASK, labels=tokens()).loss
        loss.backward()
        assert auxiliary_loss(other).item() == pytest.approx(expected_balance(other), rel=1e-12)
        own = {id(layer) for layer in layers(other)}
        base = other.get_base_model() if hasattr(other, "get_base_model") else other
        assert {id(layer) for layer in ForwardHooks.of(base).layers()} == own
    torch.manual_seed(4)
    assert torch.equal(model(tokens(), attention_mask=MASK, labels=tokens()).loss, loss)


def test_unloading_leaves_nothing_behind():
    """Neither hooks on the model and its blocks nor a field of its config."""
    model = get_peft_model(tiny("llama"), config(modulate="residual_stream"))
    assert model.config.output_router_logits is False
    model.add_adapter("other", config())
    backbone, fresh = model.unload(), tiny("llama")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())
    assert backbone.config.to_dict() == fresh.config.to_dict()
    assert torch.equal(backbone(tokens()).logits, fresh(tokens()).logits)


def test_a_refused_adapter_leaves_nothing_behind():
    """A config that does not fit leaves neither modules nor hooks."""
    model = tiny("llama")
    with pytest.raises(ValueError, match="width 32"):
        get_peft_model(model, config(r=33))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.config.to_dict() == tiny("llama").config.to_dict()
