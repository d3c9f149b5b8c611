"""A backbone's sizes, from which every method's number of trained parameters follows. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """What a method can attach to."""

    width: int
    """Hidden size d."""
    num_blocks: int
    linears: tuple[tuple[int, int], ...]
    """(inputs, outputs) of every linear layer of every block; the output embedding is in none."""
    norms: tuple[int, ...]
    """Parameters of the layer norms of each block."""
    parameters: int
    """All of the backbone's parameters, tied ones counted once."""
