"""Tiny random backbones of the three families."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

FAMILIES = ("llama", "mistral", "qwen2")
VOCABULARY = 61
WIDTH = 32
LAYERS = 2


def tiny(family: str, dtype: torch.dtype = torch.float64, layers: int = LAYERS, attention: str = "sdpa"):
    """A random causal model, the same at every call."""
    config = AutoConfig.for_model(
        family,
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)


def perturb(model: torch.nn.Module, scale: float = 0.3) -> None:
    """Move every trainable parameter off its initial value."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += scale * torch.randn_like(parameter)


def tokens(rows: int = 2, length: int = 9) -> torch.Tensor:
    """Random token ids."""
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(2))


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param
