"""A backbone's sizes from the fields of its Hugging Face config, without transformers."""

from collections.abc import Mapping
from typing import Any

from hycam_exp.dimensions import Dimensions

QKV_BIAS = ("qwen2",)  # families whose q, k and v projections have a bias


def dimensions_of(architecture: Mapping[str, Any]) -> Dimensions:
    """The sizes of a llama, mistral or qwen2: what `recognition.dimensions` finds on the model itself."""
    d, inner, blocks = (architecture[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    heads = architecture["num_attention_heads"]
    head = architecture.get("head_dim") or d // heads
    queries, keys = heads * head, (architecture.get("num_key_value_heads") or heads) * head
    linears = ((d, queries), (d, keys), (d, keys), (queries, d), (d, inner), (d, inner), (inner, d))
    biases = queries + 2 * keys if architecture["model_type"] in QKV_BIAS else 0
    block = sum(i * o for i, o in linears) + biases + 2 * d
    embeddings = architecture["vocab_size"] * d * (1 if architecture.get("tie_word_embeddings") else 2)
    return Dimensions(
        width=d,
        num_blocks=blocks,
        linears=linears * blocks,
        norms=(2 * d,) * blocks,
        parameters=blocks * block + embeddings + d,
    )
