import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, MambaConfig, MambaForCausalLM

from hycam_exp.methods.recognition import attention_modules, dimensions, layer_norms, num_blocks


def without_attention():
    with torch.device("meta"):
        return MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=3, state_size=4))


def of_another_family():
    with torch.device("meta"):
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
        return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=32, **sizes))


def test_names_come_from_the_model():
    """A family that nothing here knows by name gives its attention and norms by their classes."""
    model = of_another_family()
    assert attention_modules(model) == {"attention"}
    assert layer_norms(model) == {"input_layernorm", "post_attention_layernorm"}


def test_blocks_are_counted_without_attention():
    """A model without attention has its blocks and sizes, so that LoRA's parameters can still be told."""
    model = without_attention()
    assert num_blocks(model) == 3
    assert dimensions(model).num_blocks == 3


def test_a_model_without_attention_is_refused_by_name():
    """What HyCAM would wrap is not there, and the error says how to name it."""
    with pytest.raises(ValueError, match="MambaForCausalLM: no attention module recognised; name it with target_modul"):
        attention_modules(without_attention())


def test_a_model_without_blocks_is_refused_by_name():
    """No number in any module's name: no blocks."""
    with pytest.raises(ValueError, match="Linear: its modules stand in no numbered block"):
        num_blocks(torch.nn.Linear(2, 2))
