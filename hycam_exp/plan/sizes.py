"""The sizes that decide memory and work: a backbone's, a micro-batch's, a number's in bytes, and a data mix's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hycam_exp.config.dimensions import Dimensions, dimensions_of
from hycam_exp.config.methods import require
from hycam_exp.config.settings import DataSettings, ModelSettings, Run
from hycam_exp.data import published, splits
from hycam_exp.data.prompts import CHAT, render
from hycam_exp.data.records import Record
from hycam_exp.launch.inputs import Data
from hycam_exp.models import backbones

TABLE1 = "the paper's Table 1"
SAMPLE = 100  # records of a task that are tokenised for the mean length


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
    path = backbones.folder(settings)
    assert path is not None, "only a hub's model has no folder"
    if settings.source == "random":  # as `backbones.describe` builds it
        tokens = vocabulary_size((path / "tokenizer.json").read_text(encoding="utf-8"))
        return {**(settings.architecture or {}), "vocab_size": tokens}
    return backbones.json_fields(path / "config.json")


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
        raise ValueError(f"{settings.path}/config.json: {error}") from error


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

    @property
    def tokens(self) -> int:
        """Tokens, padding included."""
        return self.rows * self.length

    @property
    def scored(self) -> int:
        """Positions that the loss looks at: all but each row's last."""
        return self.rows * (self.length - 1)


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes of one number, by what it is.

    See: torch.autocast's documentation (matrix products run in bfloat16 and their inputs are cast, trained float32
    weights once a forward), `backbones.weight_dtype` (frozen weights in bfloat16), PEFT's autocast_adapter_dtype
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


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Records of the three parts of a fold, and the mean number of tokens of a record."""

    train: int
    validation: int
    test: int
    tokens: float
    records_from: str
    tokens_from: str


def workload(run: Run, data: Data) -> Workload | None:
    """What the run goes through in an epoch; None where its records are neither on disk nor in the paper's Table 1.

    Raises:
        ValueError: the backbone's tokenizer cannot be read.
    """
    mix = run.data
    if data.hash is None:
        return _published(mix)
    chosen = splits.capped(data.records, mix.max_per_task, mix.group, mix.split_seed)
    split = splits.split(chosen, run.fold, mix.group, mix.split_seed)
    train = sum((mix.weights or {}).get(record.task, 1.0) for record in split.train)
    tokens, origin = _mean_tokens(run, chosen)
    return Workload(
        train=round(train),
        validation=len(split.validation),
        test=len(split.test),
        tokens=tokens,
        records_from="the disk",
        tokens_from=origin,
    )


def _published(mix: DataSettings) -> Workload | None:
    """By the paper's Table 1, split 7:2:1; its token counts are those of Llama 2's tokenizer, prompt included."""
    rows = {row.task: row for row in published.datasets()}
    if not set(mix.tasks) <= set(rows):
        return None
    sizes = {task: min(rows[task].samples, mix.max_per_task or 10**9) for task in mix.tasks}
    lengths = {task: min(rows[task].average, mix.max_length) for task in mix.tasks}
    train = sum(0.7 * size * (mix.weights or {}).get(task, 1.0) for task, size in sizes.items())
    total = sum(sizes.values())
    origin = TABLE1
    mean = sum(sizes[task] * lengths[task] for task in mix.tasks) / total
    return Workload(
        train=round(train),
        validation=round(0.2 * total),
        test=round(0.1 * total),
        tokens=_padded(mix, mean),
        records_from=origin,
        tokens_from=origin,
    )


def _padded(mix: DataSettings, tokens: float) -> float:
    return mix.max_length if mix.padding == "max_length" else tokens


def _mean_tokens(run: Run, records: list[Record]) -> tuple[float, str]:
    """The mean length, and where it is from: the tokenizer, Table 1, or the longest that is allowed.

    Raises:
        ValueError: the tokenizer's file is not whole.
    """
    mix, path = run.data, _tokenizer(run.model)
    if path is not None and mix.prompt != CHAT:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no class of its own
            raise ValueError(f"{path}: {error}") from error
        sample = [r for task in mix.tasks for r in [r for r in records if r.task == task][:SAMPLE]]
        texts = [render(mix.prompt, record) + record.output for record in sample]
        lengths = [min(len(encoding.ids) + 1, mix.max_length) for encoding in tokenizer.encode_batch(texts)]
        counts = {task: sum(r.task == task for r in records) for task in mix.tasks}
        weighted = sum(n * counts[r.task] / min(SAMPLE, counts[r.task]) for n, r in zip(lengths, sample, strict=True))
        return _padded(mix, weighted / len(records)), f"the tokenizer, on {len(sample)} records"
    published = _published(mix)
    if published is not None:
        return published.tokens, published.tokens_from
    return float(mix.max_length), "data.max_length, the most there can be"


def _tokenizer(settings: ModelSettings) -> Path | None:
    """The tokenizer's file, where the backbone lies on this machine."""
    folder = backbones.folder(settings)
    path = folder / "tokenizer.json" if folder else None
    return path if path is not None and path.is_file() else None
