"""The sizes that decide memory and work: a backbone's, a micro-batch's, and how many bytes a number has where."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hycam_exp.config.dimensions import Dimensions, dimensions_of
from hycam_exp.config.settings import ModelSettings
from hycam_exp.models import backbone, files
from hycam_exp.runtime.require import require


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder of the Llama form: RMSNorm, attention with rotary positions, SwiGLU."""

    width: int
    inner: int
    """Width of the feed-forward part."""
    num_blocks: int
    heads: int
    kv_heads: int
    head: int
    """Width of one attention head."""
    vocabulary: int
    tied: bool
    dimensions: Dimensions

    @property
    def queries(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Width of all keys together, and of all values."""
        return self.kv_heads * self.head

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the seven linear layers of a block, in the order of the forward pass."""
        d = self.width
        return {
            "q_proj": (d, self.queries),
            "k_proj": (d, self.keys),
            "v_proj": (d, self.keys),
            "o_proj": (self.queries, d),
            "gate_proj": (d, self.inner),
            "up_proj": (d, self.inner),
            "down_proj": (self.inner, d),
        }

    @property
    def block_parameters(self) -> int:
        """Parameters of one block, biases and norms included."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return (self.dimensions.parameters - embeddings - self.width) // self.num_blocks


def shape_of(architecture: Mapping[str, Any]) -> Shape:
    """The sizes in the fields of a Hugging Face config.

    Raises:
        ValueError: a field is missing or no size; names it.
    """
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    needed = ("model_type", *sizes)
    missing = [field for field in needed if architecture.get(field) is None]
    if missing:
        raise ValueError(f"model.architecture.{missing[0]}: missing; a plan needs {', '.join(needed)}")
    for field in (*sizes, "num_key_value_heads", "head_dim"):
        size = architecture.get(field, 1)
        require(size is None or (type(size) is int and size > 0), f"model.architecture.{field}", size, "is no size")
    heads = architecture["num_attention_heads"]
    return Shape(
        width=architecture["hidden_size"],
        inner=architecture["intermediate_size"],
        num_blocks=architecture["num_hidden_layers"],
        heads=heads,
        kv_heads=architecture.get("num_key_value_heads") or heads,
        head=architecture.get("head_dim") or architecture["hidden_size"] // heads,
        vocabulary=architecture["vocab_size"],
        tied=bool(architecture.get("tie_word_embeddings")),
        dimensions=dimensions_of(architecture),
    )


def architecture_of(settings: ModelSettings) -> Mapping[str, Any]:
    """The config fields of a run's backbone: those in its settings, or those of its folder's config.json.

    Raises:
        ValueError: neither is there, or the file is not whole.
    """
    if settings.source == "hub":
        if settings.architecture is None:
            raise ValueError(f"model={settings.name}: model.architecture is null, and a plan does not ask the hub")
        return settings.architecture
    if files.gguf_file(settings) is not None:
        return backbone.config_fields(settings)
    path = files.folder(settings)
    assert path is not None, "only a hub's model has no folder"
    if settings.source == "random":  # as `backbone.describe` builds it
        tokens = vocabulary_size((path / "tokenizer.json").read_text(encoding="utf-8"))
        return {**(settings.architecture or {}), "vocab_size": tokens}
    return files.json_fields(path / "config.json")


def shape_of_model(settings: ModelSettings) -> Shape:
    """The sizes of a run's backbone.

    Raises:
        ValueError: they are not known; names the field, and the file where they come from one.
    """
    architecture = architecture_of(settings)
    try:
        return shape_of(architecture)
    except ValueError as error:
        if settings.source != "folder":
            raise
        raise ValueError(f"{files.gguf_file(settings) or f'{settings.path}/config.json'}: {error}") from error


def vocabulary_size(tokenizer: str) -> int:
    """How many tokens a tokenizer.json has, its added ones included."""
    described = json.loads(tokenizer)
    added = {token["content"] for token in described["added_tokens"]}
    return len(set(described["model"]["vocab"]) | added)


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """One micro-batch on one device: `rows` padded to `length` tokens."""

    rows: int
    length: int
    padded: bool
    """Some row is shorter, so that attention takes a mask of `length` x `length` for every row."""
    target_share: float = 1.0
    """Of the positions that can have a target, those that have one; at most all."""

    @property
    def tokens(self) -> int:
        """Tokens, padding included."""
        return self.rows * self.length

    @property
    def scored(self) -> int:
        """Positions that the output embedding and the loss look at; no row's last is one."""
        return math.ceil(self.target_share * self.rows * (self.length - 1))


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes of one number, by what it is.

    See: torch.autocast's documentation (matrix products run in bfloat16 and their inputs are cast, trained float32
    weights once a forward), `load.weight_dtype` (frozen weights in bfloat16), PEFT's autocast_adapter_dtype
    (adapters in float32), and transformers' RMSNorm (computes in float32).
    """

    frozen: int
    trained: int
    stream: int
    """The residual stream."""
    compute: int
    """Inputs and outputs of matrix products."""
    norm: int = 4

    @property
    def mixed(self) -> bool:
        """Products are computed in a narrower type than that of trained weights."""
        return self.compute < self.trained


def bytes_of(precision: str, trains_backbone: bool) -> Bytes:
    """The widths of a recipe's precision."""
    if precision == "bf16_mixed":
        weights = 4 if trains_backbone else 2
        return Bytes(frozen=weights, trained=4, stream=weights, compute=2)
    width = {"float32": 4, "float64": 8}[precision]
    return Bytes(frozen=width, trained=width, stream=width, compute=width)
