"""Frozen weights in four bits: how many bytes bitsandbytes packs them into, and what computing with them takes.

A linear layer's weights lie two in a byte, with a float32 scale for each `BLOCK` of them. It is unpacked whole whenever
it is computed with, forward and backward. The output embedding stays as it is, as do embeddings, norms and biases.

See: Dettmers et al. 2023, arXiv 2305.14314, section 3 (NF4, blocks of 64); bitsandbytes' Params4bit and MatMul4Bit;
`load.quantization` (scales are not quantised a second time).
"""

from collections.abc import Iterable

BLOCK = 64
SCALE = 4  # bytes


def packed(linears: Iterable[tuple[int, int]]) -> int:
    """Bytes of the weights of (inputs, outputs) layers; less than a KiB a layer of their own tables is left out."""
    sizes = [inputs * outputs for inputs, outputs in linears]
    return sum(-(-size // 2) + SCALE * -(-size // BLOCK) for size in sizes)
