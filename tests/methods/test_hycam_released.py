"""The released code's switches, each on two tokens of width two whose numbers are worked out by hand.

W_Shared = diag(1, 2); module 1 reads and writes feature 1, module 2 feature 2 (r = 1, all weights 1); the router's
logits are (2, 0) for the first token and (0, 0) for the second.
"""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.config.methods import HyCAMSettings
from hycam_exp.methods import attach, auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig, peft_config
from hycam_exp.methods.hycam_layer import HyCAMLayer, HyCAMNorm
from hycam_exp.models.files import ASSETS
from tests.methods.conftest import LAYERS, perturb, tiny, tokens

TINY_LLAMA = ASSETS / "tiny_llama"
X = torch.eye(2, dtype=torch.float64)[None]  # (B, L, d): the tokens (1, 0) and (0, 1)
ATT = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64)  # (B, L, d)
STREAM = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]], dtype=torch.float64)  # (B, L, d)
WEIGHTS = {
    "shared": [[1.0, 0.0], [0.0, 2.0]],
    "a": [[[1.0, 0.0]], [[0.0, 1.0]]],
    "n": [[[1.0]], [[1.0]]],
    "b": [[[1.0], [0.0]], [[0.0], [1.0]]],
    "router": [[2.0, 0.0], [0.0, 0.0]],
}


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def softmax(*logits: float) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


class Attention(torch.nn.Module):
    """Answers ATT."""

    def __init__(self) -> None:
        super().__init__()
        self.o_proj = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ATT, None


class Block(torch.nn.Module):
    """A pre-norm block without the rest: the residual stream plus what attention makes of X."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn: torch.nn.Module = Attention()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + self.self_attn(hidden_states=X)[0]


def settings(**changes: object) -> HyCAMSettings:
    paper = compose("method=hycam", "method.rank=1", "method.num_specialized=2", "method.tau=0.5").method
    routing = {name: changes.pop(name) for name in ("hard", "noise_in_eval", "trainable", "init") if name in changes}
    return replace(paper, routing=replace(paper.routing, **routing), **changes)


def block(**changes: object) -> Block:
    found = Block()
    layer = HyCAMLayer(found.self_attn, 2)
    found.self_attn = layer
    layer.update_layer("default", peft_config(settings(**changes), num_blocks=1))
    for name, values in WEIGHTS.items():
        getattr(layer, f"hycam_{name}")["default"].data = torch.tensor(values, dtype=torch.float64)
    layer.set_adapter("default")
    layer.watch(found)
    return found.eval()


def output(**changes: object) -> list[list[float]]:
    """What attention gives after modulation: two tokens of two features."""
    found = block(**changes)
    return (found(STREAM) - STREAM)[0].tolist()


P = softmax(4, 0)[0]  # of the first token for its first module at tau = 0.5
PAPER_A = [[silu(1) + P * silu(1), 0.0], [0.0, silu(2) + 0.5 * silu(1)]]


def scaled(a: list[list[float]], base: torch.Tensor = ATT) -> list[list[float]]:
    """h_att + base * A."""
    return [[ATT[0, t, j].item() + base[0, t, j].item() * a[t][j] for j in range(2)] for t in range(2)]


def near(expected: list[list[float]]) -> object:
    return [pytest.approx(row, rel=1e-12) for row in expected]


def test_paper():
    """Without a switch: h_att (1 + SiLU(shared) + p_1 SiLU(1) + p_2 SiLU(0)), and so on."""
    assert output() == near(scaled(PAPER_A))


def test_m1_residual_stream():
    """The whole residual stream is scaled: the block gives (x + h_att)(1 + A)."""
    assert output(modulate="residual_stream") == near(scaled(PAPER_A, ATT + STREAM))
    whole = block(modulate="residual_stream")(STREAM)[0]
    for t in range(2):
        for j in range(2):
            stream = (STREAM + ATT)[0, t, j].item()
            assert whole[t, j].item() == pytest.approx(stream * (1 + PAPER_A[t][j]), rel=1e-12)


def test_m2_hard_routing():
    """Each token takes its first module whole (the second token by a tie), with the soft weights' gradient."""
    hard = [[silu(1) + silu(1), 0.0], [0.0, silu(2)]]
    assert output(hard=True) == near(scaled(hard))
    found = block(hard=True)
    found(STREAM).sum().backward()
    # d out / d logit_1 of token 1 = h_att SiLU(1) p (1 - p) / tau; its input is (1, 0).
    slope = 1.0 * silu(1) * P * (1 - P) / 0.5
    assert found.self_attn.hycam_router["default"].grad[0, 0].item() == pytest.approx(slope, rel=1e-12)


def test_m3_noise_in_eval(monkeypatch):
    """Noise is added in evaluation: with noise (0, 3) on the logits, p is softmax((2, 3) / tau)."""
    noise = torch.tensor([[[0.0, 3.0], [0.0, 3.0]]], dtype=torch.float64)
    monkeypatch.setattr("hycam_exp.methods.hycam_layer.gumbel_noise", lambda logits: noise)
    first, second = softmax(4, 6)[0], softmax(0, 6)[1]
    noisy = [[silu(1) + first * silu(1), 0.0], [0.0, silu(2) + second * silu(1)]]
    assert output(noise_in_eval=True) == near(scaled(noisy))
    assert output() == near(scaled(PAPER_A))


def test_m3_two_passes_differ():
    """With real noise two passes in evaluation differ; without the switch they do not."""
    noisy, paper = block(noise_in_eval=True), block()
    assert not torch.equal(noisy(STREAM), noisy(STREAM))
    assert torch.equal(paper(STREAM), paper(STREAM))


def test_m5_frozen_router():
    """The router has no gradient and everything else has."""
    found = block(trainable=False)
    found(STREAM).sum().backward()
    without = {name for name, p in found.self_attn.named_parameters() if "hycam" in name and p.grad is None}
    assert without == {"hycam_router.default"}


LEARNT = {"is_trainable": True}
HALF = torch.bfloat16
WAYS = {
    "attached": lambda folder, config: get_peft_model(tiny("llama", HALF), config),
    "loaded": lambda folder, config: PeftModel.from_pretrained(tiny("llama", HALF), folder, **LEARNT),
    "loaded beside another": lambda folder, config: beside(folder, lambda m: m.load_adapter(folder, "own", **LEARNT)),
    "added": lambda folder, config: beside(folder, lambda m: m.add_adapter("own", config)),
    "added by transformers": lambda folder, config: added_by_transformers(config),
}


def beside(folder: Path, add) -> PeftModel:
    """A model with an adapter of another rank, and a further one that is then made active."""
    model = get_peft_model(tiny("llama", HALF), HyCAMConfig(task_type="CAUSAL_LM", r=3))
    add(model)
    model.set_adapter("own")
    return model


def added_by_transformers(config: HyCAMConfig) -> torch.nn.Module:
    model = tiny("llama", HALF)
    model.add_adapter(config)
    return model


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*is deprecated:FutureWarning")
@pytest.mark.parametrize("way", WAYS)
def test_m5_the_router_stays_frozen_over_a_half_precision_backbone(way, tmp_path):
    """However it comes to be trained, what is trained is the closed form's, and the router never moves.

    PEFT casts an adapter over bfloat16 to float32 as new parameters, after it has frozen what is frozen.
    """
    config = HyCAMConfig(**RELEASED, projection_bias=True)
    get_peft_model(tiny("llama", HALF), config).save_pretrained(tmp_path)
    model = WAYS[way](tmp_path, config).train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    width, r, num = 32, 2, 2
    block = width**2 + width + num * (2 * width * r + r**2 + 2 * r + width)  # shared, then B, A, N, their biases
    assert sum(p.numel() for p in trained.values()) == LAYERS * block
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=tokens(), labels=tokens()).loss.backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in trained), name


def test_m5_counts_on_the_embedded_backbone():
    """In bfloat16 as in float32 the released form trains 168,288 parameters of rank 8 on tiny_llama."""
    for dtype in (torch.float32, HALF):
        model = attach(AutoModelForCausalLM.from_pretrained(TINY_LLAMA, dtype=dtype), released_settings())
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 168_288


def released_settings() -> HyCAMSettings:
    return compose("method=hycam_released").method


RELEASED = {
    "r": 2,
    "num_specialized": 2,
    "task_type": "CAUSAL_LM",
    "hard_routing": True,
    "noise_in_eval": True,
    "train_router": False,
    "router_init": "normal",
}


def released(**changes: object):
    fields = {"r": 2, "num_specialized": 2, "task_type": "CAUSAL_LM", **changes}
    return get_peft_model(tiny("llama"), HyCAMConfig(**fields))


def test_m6_layer_norms():
    """Both norms of every block are trained, the final one is not; they start, and are saved, as the backbone's."""
    model = released(train_layer_norms=True)
    norms = {n for n, p in model.named_parameters() if p.requires_grad and "norm" in n}
    assert len(norms) == 2 * LAYERS
    assert sum(isinstance(m, HyCAMNorm) for m in model.modules()) == 2 * LAYERS
    assert not any(p.requires_grad for n, p in released().named_parameters() if "norm" in n)
    assert torch.equal(model(tokens()).logits, tiny("llama")(tokens()).logits)
    perturb(model)
    with model.disable_adapter():
        assert torch.equal(model(tokens()).logits, tiny("llama")(tokens()).logits)
    assert torch.equal(model.unload()(tokens()).logits, tiny("llama")(tokens()).logits)


def test_m7_no_balance_loss():
    """With weight 0 the balance loss is computed and adds nothing."""
    model = released(balance_weight=0.0).train()
    model(tokens())
    assert auxiliary_loss(model).item() == 0


def balance(scope: str, masks: bool, monkeypatch: pytest.MonkeyPatch) -> float:
    """Weight 1; two blocks whose routers send two tokens, and a padded one, the hand-made way."""
    model = released(balance_weight=1.0, balance_scope=scope, balance_masks_padding=masks, tau=1.0).train()
    monkeypatch.setattr("hycam_exp.methods.hycam_layer.gumbel_noise", torch.zeros_like)
    rows = iter([[[2.0, 0.0], [0.0, 0.0], [0.0, 5.0]], [[0.0, 2.0], [0.0, 0.0], [0.0, 5.0]]])
    monkeypatch.setattr(
        "hycam_exp.methods.hycam_layer.router_logits",
        lambda x, router, bias: torch.tensor([next(rows)], dtype=torch.float64) + 0 * router.sum(),
    )
    model(tokens(rows=1, length=3), attention_mask=torch.tensor([[1, 1, 0]]))
    return auxiliary_loss(model).item()


def test_m8_balance_scope(monkeypatch):
    """Per layer: the mean of two layers' losses. Pooled: the two opposite layers even each other out, to 1/2."""
    first = (softmax(2, 0)[0] + 0.5) / 2
    layer = first**2 + (1 - first) ** 2
    assert balance("per_layer", True, monkeypatch) == pytest.approx(layer, rel=1e-12)
    assert balance("pooled", True, monkeypatch) == pytest.approx(0.5, rel=1e-12)


def test_m8_balance_counts_padding(monkeypatch):
    """Unmasked, the padded third token counts in the means as the other two do."""
    layers = []
    for sign in (2, -2):
        first = (softmax(sign, 0)[0] + 0.5 + softmax(0, 5)[0]) / 3
        layers.append(first**2 + (1 - first) ** 2)
    assert balance("per_layer", False, monkeypatch) == pytest.approx(sum(layers) / 2, rel=1e-12)


def test_m9_bias():
    """Biases stand on shared, A, N, B and the router: SiLU(B (N (A x + a) + n) + b)."""
    found = block(projection_bias=True)
    values = {"shared_bias": [[0.1, 0.2]], "a_bias": [[0.3], [0.4]], "n_bias": [[0.5], [0.6]],
              "bias": [[0.7, 0.8], [0.9, 1.0]], "router_bias": [0.0, 2.0]}  # fmt: skip
    for name, value in values.items():
        getattr(found.self_attn, f"hycam_{name}")["default"].data = torch.tensor(value, dtype=torch.float64)
    second = softmax(0, 4)[1]  # of the second token for its second module; the first token's logits are equal
    expected = [
        [
            silu(1.1) + 0.5 * silu(1 + 0.3 + 0.5 + 0.7) + 0.5 * silu(0.9),
            silu(0.2) + 0.5 * silu(0.8) + 0.5 * silu(0.4 + 0.6 + 1.0),
        ],
        [
            silu(0.1) + (1 - second) * silu(0.3 + 0.5 + 0.7) + second * silu(0.9),
            silu(2.2) + (1 - second) * silu(0.8) + second * silu(1 + 0.4 + 0.6 + 1.0),
        ],
    ]
    assert (found(STREAM) - STREAM)[0].tolist() == near(scaled(expected))


def test_m10_scale():
    """The input of a low-rank CAM's SiLU is 32 / r times as large, with r = 1; the shared one's is not."""
    expected = [[silu(1) + P * silu(32), 0.0], [0.0, silu(2) + 0.5 * silu(32)]]
    assert output(scale_numerator=32.0) == near(scaled(expected))


def test_released_form_turns_every_switch():
    """`method=hycam_released` is every file of conf/released over `method=hycam`, and the ladder ends there."""
    whole = compose("method=hycam_released").method
    rows = ["m1_residual_stream", "m2_hard_routing", "m3_noise_in_eval", "m5_frozen_router", "m6_layer_norms",
            "m7_no_balance_loss", "m8_pooled_balance", "m9_bias", "m10_scale", "m11_router_init"]  # fmt: skip
    last = compose(f"released=[{','.join(rows)}]").method
    assert replace(last, name="hycam_released") == whole
    for row in rows:
        one = compose(f"released=[{row}]").method
        paper = compose().method
        changed = {f for f in vars(paper) if getattr(one, f) != getattr(paper, f)}
        assert changed
        assert all(getattr(one, f) == getattr(whole, f) for f in changed - {"routing"})


def test_m11_router_init():
    """The released router starts normal with deviation 0.02 and a zero bias, the paper's within 1 / sqrt(d)."""
    started = {}
    for init in ("kaiming_uniform", "normal"):
        torch.manual_seed(0)
        layer = HyCAMLayer(Attention(), 1024)
        layer.update_layer("default", peft_config(settings(num_specialized=20, init=init, projection_bias=True), 1))
        started[init] = layer.hycam_router["default"].detach()
        assert not layer.hycam_router_bias["default"].any()
    assert started["kaiming_uniform"].abs().max().item() <= 1 / 32
    assert started["kaiming_uniform"].std().item() == pytest.approx(1 / 32 / math.sqrt(3), rel=0.01)
    assert started["normal"].std().item() == pytest.approx(0.02, rel=0.01)
    beyond = (started["normal"].abs() > 0.04).double().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.006)  # of a normal variable beyond two deviations


def test_m11_an_unknown_start_is_refused():
    """The error names the field, its value and the choices."""
    with pytest.raises(ValueError, match=r"method.routing.init=zeros: must be one of kaiming_uniform, normal"):
        settings(init="zeros")
