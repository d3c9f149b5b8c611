"""HyCAM on every causal family that the installed transformers registers."""

import re

import pytest
import torch
import transformers

from scripts import families
from scripts.families import FAMILIES, outcome
from tests.test_house import ROOT

FAST = ("llama", "gpt2", "bert", "bart", "qwen3_next", "mamba")
PAGE = (ROOT / "docs" / "families.md").read_text()
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.mark.parametrize("family", [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES])
def test_every_family_is_right_or_refused_in_one_line(family):
    """No family is adapted wrongly, and under the page's version of transformers each is what the page says."""
    found = outcome(family)
    assert found.kind != "wrong", found.said
    if f"transformers {transformers.__version__} " in PAGE:
        assert re.search(rf"^\| {re.escape(family)} \| {found.kind} \|", PAGE, flags=re.MULTILINE), found


def test_attention_that_gives_out_its_input_is_told(monkeypatch):
    """The check that the table rests on finds a residual inside attention, which recognition would refuse."""
    monkeypatch.setattr("hycam_exp.methods.hycam.adds_residual", lambda module: False)
    assert "gives out its input" in outcome("bloom").said


def test_logits_that_are_not_the_equations_are_told(monkeypatch):
    """The reference is independent of what it checks."""
    modulate = families.HyCAMLayer._modulate
    monkeypatch.setattr(families.HyCAMLayer, "_modulate", lambda *args: 1.01 * modulate(*args))
    found = outcome("llama")
    assert found.kind == "wrong"
    assert "not the identity" in found.said
    assert "differ from those of the equations" in found.said


def test_what_modulation_cannot_do_is_noted():
    """Gemma2 normalises what attention gives out; OLMo2's attention reads the stream itself; Llama has neither."""
    with torch.random.fork_rng():
        assert outcome("llama").said == "2 of 2 blocks"
        assert outcome("gemma2").said.endswith("a norm after attention swallows a uniform scale")
        assert "attention reads the raw stream" in outcome("olmo2").said
