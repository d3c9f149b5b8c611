"""GGUF files, the packed weights of llama.cpp: unpacked into a plain model when they are read.

See: transformers' documentation of `gguf_file`. A packed weight is known to few bits; the model that is trained holds
those values in its own dtype, and is not the one that its authors published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def described(file: Path) -> str:
    """What the weights of a file are, for a record: `GGUF Q4_1, dequantised`.

    Raises:
        ValueError: it is no GGUF file; names it.
    """
    from gguf import GGUFReader, LlamaFileType

    try:
        field = GGUFReader(file).get_field("general.file_type")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{file}: no GGUF file ({error})") from error
    kind = "of unknown type" if field is None else LlamaFileType(field.contents()).name.removeprefix("MOSTLY_")
    return f"GGUF {kind}, dequantised"


def unpacking() -> dict[str, Any]:
    """The option that makes transformers unpack every weight; before GgufConfig it did nothing else."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}
