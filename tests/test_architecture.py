"""Sizes from a config's fields: published totals, and the model's own modules."""

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp.architecture import dimensions_of
from hycam_exp.methods.recognition import dimensions
from tests.plan.architectures import LLAMA2_7B, QWEN2_5_0_5B, TOY


def test_published_totals():
    """Llama 2 7B has 6,738,415,616 parameters, Qwen2.5 0.5B 494,032,768."""
    assert dimensions_of(LLAMA2_7B).parameters == 6_738_415_616
    assert dimensions_of(QWEN2_5_0_5B).parameters == 494_032_768


@pytest.mark.parametrize(
    "changes", [{}, {"model_type": "qwen2", "tie_word_embeddings": True}, {"model_type": "mistral"}]
)
def test_the_model_itself_has_these_sizes(changes):
    """What the fields say is what `recognition.dimensions` finds."""
    fields = {**TOY, **changes}
    kind = fields.pop("model_type")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields))
    assert dimensions(model) == dimensions_of({"model_type": kind, **fields})
