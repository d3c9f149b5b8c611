"""HyCAM on tiny random Llama, Mistral and Qwen2."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.methods import attach, auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.methods.hycam_layer import HyCAMLayer
from hycam_exp.methods.modulation_limits import remarks
from hycam_exp.methods.recognition import attention_modules
from hycam_exp.methods.routing import balance_loss
from hycam_exp.training.fit import checkpoint_activations
from tests.methods.conftest import LAYERS, WIDTH, perturb, tiny, tokens

RANK, NUM, TAU, WEIGHT = 4, 3, 0.5, 0.1


def config(**changes) -> HyCAMConfig:
    fields = {"r": RANK, "num_specialized": NUM, "tau": TAU, "balance_weight": WEIGHT, "task_type": "CAUSAL_LM"}
    return HyCAMConfig(**{**fields, **changes})


def adapted(family: str, moved: bool = True, dtype: torch.dtype = torch.float64, **changes):
    model = get_peft_model(tiny(family, dtype), config(**changes))
    if moved:
        perturb(model)
    return model


def test_a_layer_computes_the_papers_equations(family):
    """The wrapped attention's output is h_att (1 + A_Shared + sum_k p_k A_Spec_k), written out tensor by tensor."""
    model = adapted(family).eval()
    layer = next(m for m in model.modules() if isinstance(m, HyCAMLayer))
    seen = {}
    layer.base_layer.register_forward_hook(
        lambda _, args, kwargs, out: seen.update(h=kwargs["hidden_states"], att=out[0]), with_kwargs=True
    )
    layer.register_forward_hook(lambda _, args, out: seen.update(out=out[0]))
    model(tokens())
    shared, a, n, b, router = (
        getattr(layer, f"hycam_{name}")["default"] for name in ("shared", "a", "n", "b", "router")
    )
    h = seen["h"]
    p = torch.softmax(h @ router.T / TAU, dim=-1)
    total = F.silu(h @ shared)
    for k in range(NUM):
        total = total + p[..., k : k + 1] * F.silu(h @ (b[k] @ n[k] @ a[k]).T)
    torch.testing.assert_close(seen["out"], seen["att"] + seen["att"] * total)


@pytest.mark.parametrize(
    "changes", [{}, {"shared": "none"}, {"shared": "low_rank"}, {"modulate": "residual_stream"}], ids=str
)
def test_a_decoded_token_has_the_logits_of_the_whole_sequence(family, changes, monkeypatch):
    """With a cache one token of every row takes the form for decoding, without `modulate`, and agrees with it."""
    model = adapted(family, **changes).eval()
    with torch.no_grad():
        whole = model(tokens()).logits[:, -1]
        past = model(tokens()[:, :-1], use_cache=True).past_key_values
        monkeypatch.setattr("hycam_exp.methods.hycam_layer.modulate", None)
        decoded = model(tokens()[:, -1:], past_key_values=past).logits[:, 0]
    torch.testing.assert_close(decoded, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.bfloat16])
def test_decoding_over_half_precision_keeps_its_dtype(adapter_dtype):
    """Adapters in float32, or in the backbone's bfloat16, give tokens in the backbone's dtype near the whole's."""
    model = get_peft_model(
        tiny("llama", torch.bfloat16), config(), autocast_adapter_dtype=adapter_dtype == torch.float32
    )
    perturb(model)
    model.eval()
    assert {p.dtype for n, p in model.named_parameters() if "hycam" in n} == {adapter_dtype}
    with torch.no_grad():
        whole = model(tokens()).logits[:, -1]
        past = model(tokens()[:, :-1], use_cache=True).past_key_values
        decoded = model(tokens()[:, -1:], past_key_values=past).logits[:, 0]
    assert decoded.dtype == torch.bfloat16
    torch.testing.assert_close(decoded, whole, rtol=0.1, atol=0.01)


def test_parameters_are_those_of_the_closed_form(family):
    """Trainable are shared (d, d), A (N_s, r, d), N (N_s, r, r), B (N_s, d, r), router (N_s, d), and nothing else."""
    model = adapted(family)
    expected = {
        "hycam_shared": (WIDTH, WIDTH),
        "hycam_a": (NUM, RANK, WIDTH),
        "hycam_n": (NUM, RANK, RANK),
        "hycam_b": (NUM, WIDTH, RANK),
        "hycam_router": (NUM, WIDTH),
    }
    trained = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == LAYERS * len(expected)
    assert all(shape == expected[name.split(".")[-2]] for name, shape in trained.items())
    closed_form = LAYERS * (WIDTH**2 + NUM * (2 * WIDTH * RANK + RANK**2 + WIDTH))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == closed_form


def test_the_balance_loss_alone_reaches_the_router(family):
    """At initialisation, where the task loss does not reach the router, the balance loss does."""
    model = adapted(family, moved=False).train()
    model(tokens())
    auxiliary_loss(model).backward()
    routers = [p for n, p in model.named_parameters() if "router" in n]
    assert len(routers) == LAYERS
    assert all(p.grad.any() for p in routers)


def test_padding_does_not_count_in_the_balance_loss(family):
    """The balance loss of a padded batch is that of its tokens without padding."""
    model = adapted(family, tau=1.0).train()
    # Without noise the loss is a function of the tokens alone.
    ids = tokens(rows=1)
    padded, mask = F.pad(ids, (0, 4)), F.pad(torch.ones_like(ids), (0, 4))
    with_noise_off(lambda: model(ids, attention_mask=torch.ones_like(ids)))
    alone = auxiliary_loss(model)
    with_noise_off(lambda: model(padded, attention_mask=mask))
    torch.testing.assert_close(auxiliary_loss(model), alone)


def layers(model) -> list[HyCAMLayer]:
    return [module for module in model.modules() if isinstance(module, HyCAMLayer)]


def with_noise_off(call):
    """Call with the Gumbel noise replaced by zeros."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hycam_exp.methods.hycam_layer.gumbel_noise", torch.zeros_like)
        return call()


def test_balance_loss_is_the_weighted_mean_over_layers(family):
    """The auxiliary loss is lambda times the mean of the layers' Eq. 10."""
    model = adapted(family).train()
    model(tokens())
    layers = [balance_loss(m.balance_means["default"]).item() for m in model.modules() if isinstance(m, HyCAMLayer)]
    assert len(layers) == LAYERS
    assert auxiliary_loss(model).item() == pytest.approx(WEIGHT * sum(layers) / LAYERS, rel=1e-12)


def test_labels_in_training_add_the_balance_loss_once(family):
    """outputs.loss with labels is the task loss plus the auxiliary loss in training, the task loss in evaluation."""
    model = adapted(family).train()
    ids = tokens()
    outputs = model(ids, labels=ids)
    task = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
    assert outputs.loss.item() == pytest.approx(task.item() + auxiliary_loss(model).item(), rel=1e-6)
    outputs = model.eval()(ids, labels=ids)
    task = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
    assert outputs.loss.item() == pytest.approx(task.item(), rel=1e-6)


def test_accumulated_micro_batches_count_the_balance_loss_once(family):
    """With num_items_in_batch, as HF's Trainer gives it, micro-batches add up to a token-weighted mean."""
    model = adapted(family).train()
    rows = [tokens(rows=1, length=5), tokens(rows=1, length=9)]
    targets = [ids.shape[1] - 1 for ids in rows]
    total, expected = 0.0, 0.0
    for ids, count in zip(rows, targets, strict=True):
        outputs = model(ids, labels=ids, num_items_in_batch=torch.tensor(sum(targets)))
        total += outputs.loss.item()
        task = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum")
        expected += (task.item() + count * auxiliary_loss(model).item()) / sum(targets)
    assert total == pytest.approx(expected, rel=1e-6)


def test_training_is_noisy(family):
    """Two passes over one batch differ in training: the router explores."""
    model = adapted(family).train()
    assert not torch.equal(model(tokens()).logits, model(tokens()).logits)


def test_initial_a_n_and_router_are_kaiming_uniform():
    """Entries lie within 1 / sqrt(fan_in), Kaiming uniform's bound for a = sqrt(5), and reach for it."""
    layer = next(m for m in adapted("llama", moved=False, r=32).modules() if isinstance(m, HyCAMLayer))
    for matrices, fan_in in ((layer.hycam_a, WIDTH), (layer.hycam_n, 32), (layer.hycam_router, WIDTH)):
        for matrix in matrices["default"]:
            largest = matrix.abs().max().item()
            assert 0.7 / fan_in**0.5 < largest <= 1 / fan_in**0.5
    assert not layer.hycam_shared["default"].any()
    assert not layer.hycam_b["default"].any()


def test_disabled_and_unloaded_the_backbone_is_back(family):
    """disable_adapter gives the backbone's logits; unload gives the backbone itself."""
    expected = tiny(family)(tokens()).logits
    model = adapted(family).eval()
    with model.disable_adapter():
        assert torch.equal(model(tokens()).logits, expected)
    assert not torch.equal(model(tokens()).logits, expected)
    backbone = model.unload()
    assert not any(isinstance(m, HyCAMLayer) for m in backbone.modules())
    assert torch.equal(backbone(tokens()).logits, expected)


def test_merging_is_refused_with_the_reason():
    """No fixed weight equals an input-dependent modulation."""
    model = adapted("llama")
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ValueError, match="depends on the input"):
            merge()


def test_positional_hidden_states_are_modulated_too():
    """GPT-NeoX and GPT-2 pass the hidden states by position, and name their attention otherwise."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"vocab_size": 61, "max_position_embeddings": 32}
    models = (
        GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=61, n_positions=32)),
        GPTNeoXForCausalLM(
            GPTNeoXConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, **sizes)
        ),
    )
    for model in models:
        model.eval()
        expected = model(tokens()).logits
        changed = get_peft_model(model, config()).eval()
        assert torch.equal(changed(tokens()).logits, expected)
        perturb(changed)
        assert not torch.equal(changed(tokens()).logits, expected)


def test_rank_above_the_width_is_refused():
    """The error names the rank and the width."""
    with pytest.raises(ValueError, match=rf"r={WIDTH + 1}.*width {WIDTH}"):
        adapted("llama", r=WIDTH + 1)


def test_a_model_without_recognisable_attention_is_refused():
    """The error names the model and the way out."""
    with pytest.raises(ValueError, match=r"Linear.*target_modules"):
        attention_modules(torch.nn.Linear(2, 2))


def test_attach_gives_what_the_settings_say(tmp_path):
    """A cell's values arrive in the saved adapter's config, in PEFT's words."""
    fields = ("rank=3", "num_specialized=2", "tau=0.7", "balance_weight=0.2", "layers=[0,2,3]", "layer_stride=2")
    settings = compose("released=[m3_noise_in_eval,m11_router_init]", *(f"method.{field}" for field in fields)).method
    attach(tiny("llama", layers=4), settings).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    expected = {
        "r": 3,
        "num_specialized": 2,
        "tau": 0.7,
        "balance_weight": 0.2,
        "layers_to_transform": [0, 3],
        "hard_routing": False,
        "noise_in_eval": True,
        "train_router": True,
        "router_init": "normal",
        "target_modules": ["self_attn"],
        "peft_type": "HYCAM",
    }
    assert {key: saved[key] for key in expected} == expected


ABLATIONS = {
    "hycam_shared_only": lambda h, w, spec, p: F.silu(h @ w["hycam_shared"]),
    "hycam_full_spec": lambda h, w, spec, p: F.silu(h @ w["hycam_shared"]) + spec,
    "hycam_spec_only": lambda h, w, spec, p: spec,
    "hycam_inverse_peft": lambda h, w, spec, p: (
        F.silu(h @ (w["hycam_shared_b"][0] @ w["hycam_shared_n"][0] @ w["hycam_shared_a"][0]).T) + spec
    ),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_computes_its_equation(name):
    """Shared alone; full specialized ones; no shared one; the two forms exchanged: each written out."""
    settings = compose(f"method={name}").method
    model = attach(tiny("llama"), settings).eval()
    perturb(model)
    layer = next(m for m in model.modules() if isinstance(m, HyCAMLayer))
    weights = {key: getattr(layer, key)["default"] for key in layer.adapter_layer_names if getattr(layer, key)}
    h, att = torch.randn(2, 1, 5, WIDTH, dtype=torch.float64)
    layer.base_layer = Answer(att)
    spec, p = torch.zeros_like(h), None
    if settings.num_specialized:
        p = torch.softmax(h @ weights["hycam_router"].T / settings.tau, dim=-1)
        for k in range(settings.num_specialized):
            full = weights["hycam_specialized"][k] if "hycam_specialized" in weights else None
            low = (
                None if full is not None else (weights["hycam_b"][k] @ weights["hycam_n"][k] @ weights["hycam_a"][k]).T
            )
            spec = spec + p[..., k : k + 1] * F.silu(h @ (low if full is None else full))
    expected = att + att * ABLATIONS[name](h, weights, spec, p)
    torch.testing.assert_close(layer(hidden_states=h)[0], expected)


class Answer(torch.nn.Module):
    """An attention module that answers the same whatever it is asked."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, hidden_states):
        return self.output, None


def modulated(model) -> list[int]:
    return [i for i, block in enumerate(model.base_model.model.model.layers) if isinstance(block.self_attn, HyCAMLayer)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"layers_to_transform": [1, 3]}, [1, 3]),
        ({"layers_to_transform": 2}, [2]),
        ({"layers_to_transform": [0, 3], "layers_pattern": "layers"}, [0, 3]),
        ({"exclude_modules": ["layers.1.self_attn"]}, [0, 2, 3]),
        ({"target_modules": r".*\.[02]\.self_attn"}, [0, 2]),
    ],
)
def test_only_the_chosen_blocks_are_modulated(changes, expected, tmp_path):
    """PEFT's fields choose blocks, and a loaded adapter has the same."""
    model = get_peft_model(tiny("llama", layers=4), config(**changes))
    assert modulated(model) == expected
    model.save_pretrained(tmp_path)
    assert modulated(PeftModel.from_pretrained(tiny("llama", layers=4), tmp_path)) == expected


def test_a_block_that_is_not_there_is_refused():
    """The error names the block and those that there are."""
    with pytest.raises(ValueError, match=r"layers_to_transform=2: the model has blocks 0\.\.1"):
        adapted("llama", layers_to_transform=[0, 2])


def test_cam_is_the_shared_only_ablation():
    """`method=cam` is the same cell under another name."""
    assert compose("method=cam") == compose("method=hycam_shared_only")


def test_target_modules_that_match_nothing_are_refused():
    """The error names what was asked for and what there is."""
    with pytest.raises(ValueError, match=r"no_attn.* Its attention modules are self_attn\."):
        adapted("llama", target_modules=["no_attn"])


def test_recomputing_a_block_leaves_the_first_forwards_means():
    """Under activation checkpointing the backward pass computes blocks again: their second graphs are let go."""
    model = adapted("llama").train()
    checkpoint_activations(model)
    logits = model(tokens()).logits
    first = [layer.balance_means["default"] for layer in layers(model)]
    (logits.sum() + auxiliary_loss(model)).backward()
    now = [layer.balance_means["default"] for layer in layers(model)]
    assert all(a is b for a, b in zip(now, first, strict=True))


def test_without_init_weights_an_adapter_is_random_and_trains(family):
    """It is not the identity, no tensor stays zero, and every one of them has a gradient."""
    model = adapted(family, moved=False, init_weights=False)
    assert not torch.allclose(model.eval()(tokens()).logits, tiny(family)(tokens()).logits)
    model.train()(tokens(), labels=tokens()).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.any(), name
            assert parameter.grad.any(), name


def test_what_a_block_makes_of_modulation_is_remarked():
    """Gemma 2 normalises what attention gives out, and OLMo 2's attention reads the stream itself, too; Llama does
    neither. Looking leaves the model as it was."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 64, "head_dim": 8, "pad_token_id": 0}  # fmt: skip
    swallowed = "a norm after attention swallows a uniform scale"
    expected = {"llama": [], "gemma2": [swallowed], "olmo2": ["attention reads the raw stream", swallowed]}
    for family, expected_remarks in expected.items():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            base = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))
        model = get_peft_model(base, config()).train()
        before = model.eval()(tokens()).logits
        assert remarks(model.train()) == expected_remarks, family
        assert all(module.training for module in model.modules())
        assert torch.equal(model.eval()(tokens()).logits, before)
