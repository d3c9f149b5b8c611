"""Causality, as a model computes it."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp.cell import run_cell
from hycam_exp.config.compose import compose
from hycam_exp.models import causality
from tests.models.conftest import local

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 1024, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip


def tiny(model_type: str, dtype: torch.dtype, **fields: object) -> nn.Module:
    """A random model of a type, whose weights are large enough that tokens matter."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SIZES, initializer_range=0.3, **fields)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model_type", sorted(causality.KNOWN))
def test_what_is_taken_for_causal_is(model_type, dtype):
    """Every model type that no run looks at again: the last token moves nothing before it, and no other text."""
    moved = causality.movement(tiny(model_type, dtype))
    assert moved.earlier <= moved.rounding
    assert moved.other_text <= moved.rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra"])
def test_an_encoder_is_found_out(model_type, dtype):
    """It has a head for causal models, and sees what comes after."""
    assert not causality.is_known(AutoConfig.for_model(model_type))
    moved = causality.movement(tiny(model_type, dtype))
    assert moved.earlier > 2 * moved.rounding


def test_a_bidirectional_field_makes_a_known_type_unknown():
    """transformers' masks follow the config."""
    plain = AutoConfig.for_model("gemma", **SIZES)
    assert causality.is_known(plain)
    assert not causality.is_known(AutoConfig.for_model("gemma", **SIZES, use_bidirectional_attention=True))
    plain.is_causal = False
    assert not causality.is_known(plain)


class Mixing(nn.Module):
    """A model whose texts see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny("llama", torch.float32)
        self.config, self.device = self.inner.config, self.inner.device

    def forward(self, **batch: torch.Tensor) -> object:
        found = self.inner(**batch)
        found.logits = found.logits + found.logits.flip(0)[:, -1:]
        return found


def test_texts_that_see_each_other_are_found_out(embedded):
    """The second text of the batch moves with the first one's last token."""
    with pytest.raises(ValueError, match=r"moves the logits, those of another text by \d+\.\d% of the largest"):
        causality.check_causal(Mixing(), local(embedded))


def test_a_cell_refuses_an_encoder_before_training(embedded, tmp_path, letters):
    """One line that names folder and model type; no failure of the cell is noted, and no record."""
    folder = tmp_path / "encoder"
    AutoModelForCausalLM.from_config(
        AutoConfig.for_model("roberta", **{**SIZES, "vocab_size": len(letters)})
    ).save_pretrained(folder)
    letters.save_pretrained(folder)
    run = compose(
        "model=local", f"model.path={folder}", "method=lora", "data.max_per_task=20", "data.tasks=[mini_reasoning]",
        "data.max_length=1000", f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}",
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=rf"^model.path={folder}: model_type=roberta is no causal decoder: .*give a decoder$"
    ):
        run_cell(run)
    assert not list((tmp_path / "outputs").rglob("failures*"))
    assert not list((tmp_path / "results").rglob("*.json"))


def test_a_method_that_leaks_is_refused_though_it_starts_as_the_identity():
    """PEFT's LILY averages its router over all tokens of a batch; LoRA does not, and both get their bits back."""
    from peft import LilyConfig, LoraConfig, get_peft_model

    leaking = get_peft_model(tiny("llama", torch.float32), LilyConfig(r=4, target_modules=["q_proj", "v_proj"]))
    before = [p.clone() for p in leaking.parameters()]
    assert causality.movement(leaking).earlier <= causality.movement(leaking).rounding
    with pytest.raises(
        ValueError, match="method=lily does not leave the backbone causal: another last token of a text"
    ):
        causality.check_method(leaking, "lily")
    assert all(torch.equal(p, q) for p, q in zip(leaking.parameters(), before, strict=True))
    lora = get_peft_model(tiny("llama", torch.float32), LoraConfig(target_modules=["q_proj", "v_proj"]))
    causality.check_method(lora, "lora")
