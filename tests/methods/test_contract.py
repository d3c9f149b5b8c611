"""One battery for every method of METHODS, over tiny Llama, Mistral and Qwen2: a new method gets it for free.

PEFT's types, which are many and not ours, are in `test_peft_types`.
"""

import copy
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from hycam_exp.config.compose import compose
from hycam_exp.config.methods import METHODS, HyCAMSettings
from hycam_exp.methods import attach, auxiliary_loss, backbone_of
from hycam_exp.methods.adapter_file import CheckedTuner
from hycam_exp.methods.recognition import dimensions
from tests.methods.conftest import FAMILIES, perturb, tiny, tokens

NAMES = [name for name in METHODS if name != "peft"]
SETTINGS = {name: compose(f"method={name}").method for name in NAMES}
COMPILED = ("hycam",)  # in the fast tests: a few seconds each
ADAPTERS = [name for name in NAMES if not METHODS[name].trains_backbone]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rank .* is above the width"),
    pytest.mark.filterwarnings("ignore:this method is told the task and is trained without"),
]


def quiet(settings: Any) -> Any:
    """The settings without noise in evaluation, where a method has such."""
    if isinstance(settings, HyCAMSettings):
        return replace(settings, routing=replace(settings.routing, noise_in_eval=False))
    return settings


def adapted(name: str, family: str, moved: bool = True, dtype: torch.dtype = torch.float64) -> Any:
    """The tiny backbone with the method attached, its trained parameters moved off their initial values."""
    torch.manual_seed(3)
    model = attach(tiny(family, dtype), quiet(SETTINGS[name]))
    if moved:
        perturb(model)
    return model


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def task_loss(model: Any, ids: Tensor | None = None) -> Tensor:
    ids = tokens() if ids is None else ids
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.fixture(params=[FAMILIES[0], *(pytest.param(other, marks=pytest.mark.slow) for other in FAMILIES[1:])])
def family(request: pytest.FixtureRequest) -> str:
    """Llama; with the slow tests Mistral and Qwen2 as well."""
    return request.param


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_equals_the_backbones_bit_for_bit_at_initialisation(name, family, dtype):
    """Before its first step an adapted model is the backbone, in training and in evaluation."""
    expected = tiny(family, dtype)(tokens()).logits
    model = adapted(name, family, moved=False, dtype=dtype)
    assert torch.equal(model.eval()(tokens()).logits, expected)
    assert torch.equal(model.train()(tokens()).logits, expected)


def test_the_backbone_inside_is_the_one_that_was_given(name, family):
    """Whatever is attached, the backbone is found again, the same object."""
    backbone = tiny(family)
    assert backbone_of(attach(backbone, SETTINGS[name])) is backbone


def test_trained_parameters_are_those_of_the_closed_form(name, family):
    """What is trainable is as much as the settings' closed form says."""
    model = adapted(name, family, moved=False)
    count = sum(p.numel() for p in trained(model).values())
    assert count == SETTINGS[name].num_parameters(dimensions(tiny(family)))


def test_gradients_reach_exactly_the_trained_parameters(name, family):
    """Task and auxiliary loss together move every trainable tensor, and no other has a gradient."""
    model = adapted(name, family).train()
    auxiliary = [task_loss(model) * 10, auxiliary_loss(model)]
    sum(loss for loss in auxiliary if loss is not None).backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == set(trained(model))


def test_frozen_weights_do_not_change(name, family):
    """After optimiser steps every frozen tensor has the bits it had, and every trained one has not."""
    model = adapted(name, family).train()
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.AdamW(trained(model).values(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(tokens(), labels=tokens()).loss.backward()
        optimizer.step()
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key]) == (key not in trained(model)), key


FRESH = """
import sys, torch
import hycam_exp.methods
from peft import PeftConfig, PeftModel
from tests.methods.conftest import tiny, tokens
model = PeftModel.from_pretrained(tiny(sys.argv[1]), sys.argv[2]).eval()
torch.save(model(tokens()).logits, sys.argv[2] + "/logits.pt")
"""


@pytest.mark.parametrize("name", ADAPTERS)
def test_saved_and_loaded_the_logits_are_the_same_bits(name, family, tmp_path):
    """save_pretrained and from_pretrained give the same logits, with nothing left to train."""
    model = adapted(name, family).eval()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny(family), tmp_path).eval()
    assert torch.equal(loaded(tokens()).logits, model(tokens()).logits)
    assert not trained(loaded)


@pytest.mark.parametrize("name", ADAPTERS)
def test_loaded_or_added_over_half_precision_nothing_more_is_trained(name, tmp_path):
    """PEFT's cast to float32 unfreezes neither an adapter that is loaded for use nor one that is added beside it."""
    model = adapted(name, "llama", dtype=torch.bfloat16)
    if not isinstance(model.base_model, CheckedTuner):
        pytest.skip("its tuner is PEFT's own, or another's")
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny("llama", torch.bfloat16), tmp_path)
    assert not trained(loaded)
    loaded.add_adapter("other", PeftConfig.from_pretrained(tmp_path))
    assert not trained(loaded)


@pytest.mark.parametrize("name", ADAPTERS)
def test_file_holds_the_methods_tensors_only(name, family, tmp_path):
    """The adapter file has what is trained and, in the released form, the router that is not; no frozen weight."""
    model = adapted(name, family)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        sizes = [file.get_tensor(key).numel() for key in file.keys()]  # noqa: SIM118
        assert all("hycam_router" in k for k in file.keys() if not any(_same(k, n) for n in trained(model)))  # noqa: SIM118
    routers = sum(p.numel() for n, p in model.named_parameters() if "hycam_router" in n and not p.requires_grad)
    assert sum(sizes) == sum(p.numel() for p in trained(model).values()) + routers


def _same(saved: str, parameter: str) -> bool:
    """Whether a name in the file is a parameter's without the adapter's name."""
    return parameter.replace(".default", "") == saved


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_fresh_process_loads_the_same_bits(name, tmp_path):
    """Another process gets the same logits from the folder alone."""
    model = adapted(name, "llama").eval()
    model.save_pretrained(tmp_path)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "ignore", "-c", FRESH, "llama", str(tmp_path)], check=True, cwd=root)
    assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), model(tokens()).logits)


def test_generation_with_and_without_cache_is_equal(name, family):
    """Greedy decoding gives the same ids whether past keys are kept or recomputed."""
    model = adapted(name, family).eval()
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(tokens())}
    with_cache = model.generate(input_ids=tokens(), use_cache=True, **options)
    assert torch.equal(with_cache, model.generate(input_ids=tokens(), use_cache=False, **options))


def test_left_padding_changes_nothing(name, family):
    """A row's logits are the same alone and behind padding on its left."""
    model = adapted(name, family).eval()
    ids = tokens(rows=1)
    padded, mask = F.pad(ids, (3, 0)), F.pad(torch.ones_like(ids), (3, 0))
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    behind = model(padded, attention_mask=mask, position_ids=positions).logits[:, 3:]
    torch.testing.assert_close(behind, model(ids).logits)


def test_evaluation_is_deterministic(name, family):
    """Two passes over one batch agree, whatever the state of the random generator."""
    model = adapted(name, family).eval()
    assert torch.equal(model(tokens()).logits, model(tokens()).logits)


def test_activation_checkpointing_gives_the_same_gradients(name, family):
    """Recomputing activations changes no gradient, the auxiliary loss's included."""
    from hycam_exp.training.fit import checkpoint_activations

    plain, recomputed = adapted(name, family).train(), adapted(name, family).train()
    checkpoint_activations(recomputed)
    for model in (plain, recomputed):
        torch.manual_seed(5)
        loss = task_loss(model)
        auxiliary = auxiliary_loss(model)
        (loss if auxiliary is None else loss + 10 * auxiliary).backward()
    for (key, p), q in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), key
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, msg=key)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_bfloat16_backbone_gets_float32_adapters(name, family):
    """Trained weights are float32 over a half-precision backbone; the output keeps the backbone's dtype."""
    model = adapted(name, family, dtype=torch.bfloat16)
    assert {p.dtype for p in trained(model).values()} == {torch.float32}
    assert model(tokens()).logits.dtype == torch.bfloat16


@pytest.mark.parametrize("name", [n if n in COMPILED else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_torch_compile_traces_the_model_without_a_graph_break(name):
    """The adapted model is one graph in training, auxiliary loss included."""
    from torch._dynamo.testing import CompileCounter

    model = adapted(name, "llama").train()
    counter = CompileCounter()
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        outputs = compiled(input_ids=tokens(), attention_mask=torch.ones_like(tokens()), use_cache=False)
    assert counter.frame_count == 1
    outputs.logits.sum().backward()


def lively(family: str) -> Any:
    """The tiny backbone with weights ten times as large: near zero, a frozen one can say hardly anything."""
    model = tiny(family, torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 10
    return model


def test_one_batch_can_be_learnt_by_heart(name):
    """Forty steps on one batch take the task loss below a third of what it was."""
    torch.manual_seed(3)
    settings = quiet(SETTINGS[name])
    settings = replace(settings, balance_weight=0.0) if isinstance(settings, HyCAMSettings) else settings
    model = attach(lively("llama"), settings).train()
    optimizer = torch.optim.Adam(trained(model).values(), lr=2e-2)
    first = task_loss(model).item()
    for step in range(40):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = task_loss(model)
        loss.backward()
        optimizer.step()
    print(name, first, loss.item())
    assert loss.item() < first / 3


def test_the_battery_covers_every_family_and_method():
    """No method and no family of the tiny backbones is left out."""
    assert set(SETTINGS) == set(METHODS) - {"peft"}
    assert FAMILIES == ("llama", "mistral", "qwen2")
