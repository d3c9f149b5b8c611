"""PEFT's own methods, by the installed PEFT: the ready files, what is refused, AdaLoRA's term, and the leak of LILY."""

import re
from typing import Any

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp.config.compose import compose, config_dir
from hycam_exp.config.methods import METHODS
from hycam_exp.config.peft_types import REFUSED, PEFTSettings
from hycam_exp.methods import adapter_file, attach, auxiliary_loss, budget, peft_types
from hycam_exp.models import causality
from hycam_exp.models.files import ASSETS
from hycam_exp.models.load import skeleton_of
from tests.methods.conftest import tiny

READY = (
    "adalora", "delora", "dora", "gralora", "hira", "ia3", "ln_tuning", "miss", "oft", "pissa", "prefix_tuning",
    "randlora", "rslora", "shira", "vera",
)  # fmt: skip
FAST = ("adalora", "dora", "ln_tuning", "pissa", "prefix_tuning", "shira")
"""In the fast tests: those that another of READY does not stand for."""
OTHER_STARTS = ("prefix_tuning",)
CHANGING_BASE = ("pissa",)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch, in SHiRA's forward


def config() -> Any:
    """tiny_llama's, with two blocks."""
    found = AutoConfig.from_pretrained(ASSETS / "tiny_llama")
    found.num_hidden_layers = 2
    return found


def backbone() -> Any:
    """A random model of it, the same at every call."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(), dtype=torch.float32).eval()


def ids() -> torch.Tensor:
    return torch.randint(3, 2048, (2, 9), generator=torch.Generator().manual_seed(2))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids(), use_cache=False).logits
    return found


def settings(*overrides: str) -> Any:
    return compose("method=peft", *overrides).method


def test_the_ready_files_are_those_that_are_tested() -> None:
    """Every file of conf/method whose method is one of PEFT's types is named here."""
    names = {path.stem for path in (config_dir() / "method").glob("*.yaml")} - set(METHODS) - {"cam"}
    assert names == set(READY)


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in READY])
def test_a_ready_file_is_counted_trained_saved_and_loaded(name: str, tmp_path: Any) -> None:
    """It attaches to tiny_llama, trains as many parameters as were counted without weights, starts as the backbone,
    leaks nothing, moves in a step what it trains and no more, and its file gives the same bits on a fresh backbone."""
    of_method, chosen = budget.prepared(compose(f"method={name}").method, config())
    assert of_method.name == name
    counted = peft_types.count(of_method, skeleton_of(config()))
    model: Any = attach(backbone(), of_method)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert chosen == {}
    assert sum(p.numel() for p in trained.values()) == counted
    remark = causality.other_start(model, causality.first_logits(backbone()), name)
    assert (remark is not None) == (name in OTHER_STARTS)
    causality.check_method(model, name)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.0)
    for _ in range(2):  # where B is zero, A moves in the second
        optimizer.zero_grad()
        found = model.train()(input_ids=ids(), attention_mask=torch.ones_like(ids()), use_cache=False).logits
        loss = F.cross_entropy(found[:, :-1].flatten(0, 1), ids()[:, 1:].flatten())
        auxiliary = auxiliary_loss(model)
        (loss if auxiliary is None else loss + auxiliary).backward()
        optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(trained)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(adapter_file.load(backbone(), tmp_path)), logits(model))


@pytest.mark.parametrize("name", [name for name in READY if name not in CHANGING_BASE])
def test_disabled_it_is_the_backbone(name: str) -> None:
    """Without its adapter a model of any ready file but PiSSA's is the backbone as it was, bit for bit."""
    model: Any = attach(backbone(), compose(f"method={name}").method)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(backbone()))


def test_pissa_leaves_another_base_behind() -> None:
    """Without its adapter PiSSA's model is far from the backbone: the reason why that is measured before attaching."""
    model: Any = attach(backbone(), compose("method=pissa").method)
    with model.disable_adapter():
        far = (logits(model) - logits(backbone())).abs().max() / logits(backbone()).abs().max()
    assert far > 0.01
    assert not METHODS["peft"].tested


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.type=MIS"], "method.type=MIS: PEFT .* has no such type; nearest: MISS"),
        (["method.type=HYCAM"], "method.type=HYCAM: PEFT .* has no such type"),
        (["method.type=LORA", "+method.config.lora_alhpa=3"], "lora_alhpa=3: PEFT's LoraConfig .* nearest: lora_alpha"),
        (["method.type=LORA", "+method.config.r=many"], "method.config.r=many: PEFT's LoraConfig wants int"),
        (["method.type=LORA", "+method.config.r=true"], "method.config.r=True: PEFT's LoraConfig wants int"),
        (["method.type=LORA", "+method.config.r=0"], "method=peft: PEFT's LORA refuses: .*positive integer"),
        (["method.type=LORA", "+method.config.task_type=X"], "method.config.task_type=X: follows from what a cell is"),
        (["method.type=LORA", "+method.config.target_modules=nix"], "PEFT's LORA refuses: .*nix not found"),
        (["method.type=TRAINABLE_TOKENS"], "PEFT's TRAINABLE_TOKENS trains nothing"),
        (["method.type=PROMPT_TUNING", "+method.config.num_virtual_tokens=2"], "PROMPT_TUNING: puts tokens of its own"),
        (["method=oft", "method.config.oft_block_size=24"], "method=oft: PEFT's OFT refuses: Invalid `oft_block_size`"),
        (["method=adalora", "method.config.target_r=12"], "method.config.target_r=12: must be below"),
        (["method=miss", "method.config.r=999"], "method=miss: PEFT's MISS refuses: `r` .999. must be"),
    ],
)  # fmt: skip
def test_what_peft_does_not_take_is_refused_in_one_line_without_weights(overrides: list[str], message: str) -> None:
    """A wrong type, field or value is named before any weight is loaded, the nearest where there is one."""
    first = [] if any(o.startswith("method=") for o in overrides) else ["method=peft"]
    with pytest.raises(ValueError, match=message) as refused:
        budget.prepared(compose(*first, *overrides).method, config())
    assert "\n" not in str(refused.value)


def test_the_fields_of_every_type_that_peft_registers_are_known() -> None:
    """Whatever its config class is, a field that it has not is named as such."""
    kinds = [str(k.value) for k, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if c.__module__.startswith("peft.")]
    assert len(kinds) > 40
    for kind in set(kinds) - set(REFUSED):
        of_type = PEFTSettings(name="peft", type=kind, config={"no_such_field": 1}, sized_by=[])
        with pytest.raises(ValueError, match=r"^method\.config\.no_such_field=1: PEFT's \w+Config has no such field"):
            peft_types.peft_config(of_type)


@pytest.mark.parametrize("kind", ["POLY", "XLORA", "SHADOW"])
def test_a_type_that_no_cell_can_train_is_refused_when_it_is_read(kind: str) -> None:
    """It is named with the reason before PEFT is asked."""
    with pytest.raises(ValueError, match=re.escape(f"method.type={kind}: ")):
        settings(f"method.type={kind}")


def test_a_field_that_the_file_has_not_needs_a_plus() -> None:
    """Hydra adds fields with a plus only, and the error says how."""
    with pytest.raises(ValueError, match=re.escape("a plus adds a field of PEFT's config: +method.config.r=VALUE")):
        settings("method.type=LORA", "method.config.r=3")


def test_lily_is_refused_by_what_it_does() -> None:
    """PEFT's LILY averages its router over all tokens of a batch: the look at every method finds it."""
    of_type = settings("method.type=LILY", "+method.config.target_modules=all-linear", "+method.config.r=8")
    model = attach(backbone(), of_type)
    with pytest.raises(ValueError, match="method=peft does not leave the backbone causal"):
        causality.check_method(model, "peft")


def test_a_type_that_reads_weights_is_counted_on_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """SHiRA cannot be attached without numbers; of a backbone too large for zeros a budget cannot be matched."""
    of_type = compose("method=shira", "method.match=lora").method
    fitted, chosen = budget.prepared(of_type, config())
    assert isinstance(fitted, PEFTSettings)
    assert fitted.config["r"] == chosen["r"] == 8
    monkeypatch.setattr(peft_types, "MOST_ZEROS", 0)
    with pytest.raises(ValueError, match=r"method\.match=lora: PEFT's type cannot be counted without weights"):
        budget.prepared(of_type, config())
    unmatched = compose("method=shira").method
    assert budget.prepared(unmatched, config()) == (unmatched, {})


def test_adaloras_term_is_the_mean_distance_from_orthogonality() -> None:
    """By a slow count: of every A the norm of A A^T - 1, of every B that of B^T B - 1, their mean times the weight."""
    model: Any = attach(tiny("llama", torch.float32), compose("method=adalora", "method.config.init_r=6",
                                                             "method.config.target_r=2").method)  # fmt: skip
    norms = []
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            square = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
            assert square.shape == (6, 6)
            norms.append(sum((square[i, j] - int(i == j)) ** 2 for i in range(6) for j in range(6)) ** 0.5)
    assert len(norms) == 2 * 14
    torch.testing.assert_close(auxiliary_loss(model), 0.5 * sum(norms) / len(norms))


@pytest.mark.parametrize("prompt", [9, 4])
def test_prefix_tuning_decodes_as_it_is_scored(prompt: int) -> None:
    """With a cache and padding on the left each row gets the tokens that the highest logits of whole texts give."""
    model: Any = attach(backbone(), compose("method=prefix_tuning", "method.config.num_virtual_tokens=4").method).eval()
    text = ids()[:, :prompt]
    padded, mask = F.pad(text, (3, 0)), F.pad(torch.ones_like(text), (3, 0))
    decoded = model.generate(
        input_ids=padded, attention_mask=mask, max_new_tokens=5, do_sample=False, use_cache=True, pad_token_id=2,
        eos_token_id=None,
    )[:, 3:]  # fmt: skip
    for _ in range(5):
        with torch.no_grad():
            best = (
                model(input_ids=text, attention_mask=torch.ones_like(text), use_cache=False).logits[:, -1:].argmax(-1)
            )
        text = torch.cat((text, best), 1)
    assert torch.equal(decoded, text)


def test_a_prefix_takes_positions_and_allows_no_recomputation() -> None:
    """A prefix stands in the cache: its tokens are positions of the backbone, and activations cannot be made anew."""
    assert compose("method=prefix_tuning").method.virtual_tokens == 50
    assert compose("method=lora").method.virtual_tokens == 0
    with pytest.raises(ValueError, match=r"trainer\.activation_checkpointing=true: method=prefix_tuning keeps"):
        compose("method=prefix_tuning", "trainer.activation_checkpointing=true")
