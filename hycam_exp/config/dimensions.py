"""A backbone's sizes, from which every method's number of trained parameters follows. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = {"llama": 0, "mistral": 0, "qwen2": 1}
"""The families whose sizes follow from an architecture: 1 where query, key and value projections have biases."""
REQUIRED = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "vocab_size", "tie_word_embeddings",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """What a method can attach to."""

    width: int
    """Hidden size d."""
    num_blocks: int
    linears: tuple[tuple[int, int], ...]
    """(inputs, outputs) of every linear layer of every block; the output embedding is in none."""
    mlp_linears: tuple[tuple[int, int], ...]
    """Those of them that stand in the feed-forward part (the MLP) of a block."""
    norms: tuple[int, ...]
    """Parameters of the layer norms of each block."""
    parameters: int
    """All of the backbone's parameters, tied ones counted once."""


def dimensions_of(architecture: Mapping[str, Any]) -> Dimensions:
    """A backbone's sizes from the fields of its Hugging Face config alone, where `methods.recognition` reads a model's.

    Each block has query, key, value and output projections, gate, up and down projections, and two norms.

    Raises:
        ValueError: the family is another one, or a field that decides sizes is missing.
    """
    family = architecture.get("model_type")
    if family not in FAMILIES:
        raise ValueError(f"model.architecture.model_type={family}: must be one of {', '.join(FAMILIES)}")
    missing = [field for field in REQUIRED if architecture.get(field) is None]
    if missing:
        raise ValueError(f"model.architecture lacks {', '.join(missing)}")
    d, hidden, blocks, heads, kv_heads, vocabulary, tied = (architecture[field] for field in REQUIRED)
    head = architecture.get("head_dim") or d // heads
    query, key = heads * head, kv_heads * head
    linears = ((d, query), (d, key), (d, key), (query, d), (d, hidden), (d, hidden), (hidden, d))
    biases = FAMILIES[family] * (query + 2 * key)
    block = sum(inputs * outputs for inputs, outputs in linears) + biases + 2 * d
    return Dimensions(
        width=d,
        num_blocks=blocks,
        linears=linears * blocks,
        mlp_linears=linears[4:] * blocks,
        norms=(2 * d,) * blocks,
        parameters=(1 if tied else 2) * vocabulary * d + blocks * block + d,
    )
