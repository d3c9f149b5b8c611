"""Pre-train the embedded backbone tiny_llama on the generated corpus: tokenizer, weights, retention text, record.

`python -m scripts.pretrain_tiny` writes hycam_exp/assets/tiny_llama; `--steps 3 --out DIR` is a quick trial.
"""

import hashlib
import json
import math
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.mini.corpus import corpus
from hycam_exp.runtime.command_line import Parser

OUT = Path(__file__).resolve().parent.parent / "hycam_exp" / "assets" / "tiny_llama"
BOS, EOS, PAD = SPECIALS = ("<|bos|>", "<|eos|>", "<|pad|>")
POSITIONS = 1024
MODEL = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 352,
}
PIECES = r" ?\p{L}+| ?\d| ?[^\s\p{L}\d]+|\s*\n+|\s+(?!\S)|\s+"
"""Where the text is cut before byte pairs are merged: words, single digits (sums are learnt by place), signs."""


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of the result; one processor's arithmetic is the only other thing that does."""

    steps: int = 4400
    batch: int = 8
    block: int = 320
    learning_rate: float = 5e-3
    final_rate: float = 0.05
    """Share of the learning rate that is left at the last step."""
    warm_up: int = 100
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    seed: int = 2333
    corpus_seed: int = 1
    retention_seed: int = 2
    retention_documents: int = 270
    tokenizer_documents: int = 10_000
    threads: int = 2
    model: dict[str, int] = field(default_factory=lambda: dict(MODEL))


def train_tokenizer(documents: Iterator[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts bos before a text."""
    raw = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.pre_tokenizer = pre_tokenizers.Sequence([cut, to_bytes])
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(documents, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, raw.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=POSITIONS
    )


@dataclass(frozen=True)
class Packed:
    """The training text as blocks of tokens, and the fingerprints of its documents."""

    blocks: torch.Tensor  # (N, block)
    documents: int
    fingerprints: frozenset[bytes]
    sha256: str


def pack(tokenizer: PreTrainedTokenizerFast, seed: int, blocks: int, length: int) -> Packed:
    """Take documents until the blocks are full; each document is bos, text, eos."""
    tokens: list[int] = []
    fingerprints: set[bytes] = set()
    whole, count = hashlib.sha256(), 0
    stream = corpus(seed, documents=sys.maxsize)
    while len(tokens) < blocks * length:
        batch = [next(stream) for _ in range(256)]
        for text, ids in zip(batch, tokenizer(batch)["input_ids"], strict=True):
            tokens += [*ids, tokenizer.eos_token_id]
            fingerprints.add(_fingerprint(text))
            whole.update(text.encode())
        count += len(batch)
    cut = torch.tensor(tokens[: blocks * length]).view(blocks, length)
    return Packed(cut, count, frozenset(fingerprints), whole.hexdigest())


def retention_text(settings: Settings, seen: frozenset[bytes]) -> list[str]:
    """Held-out documents of another stream, those without a blank line; one that was trained on is an error."""
    stream = corpus(settings.retention_seed, sys.maxsize)
    documents = list(islice((text for text in stream if "\n\n" not in text), settings.retention_documents))
    known = [text for text in documents if _fingerprint(text) in seen]
    if known:
        raise ValueError(f"the retention text holds {len(known)} training documents, the first is {known[0][:80]!r}")
    return documents


def _fingerprint(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def build_model(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with tied embeddings, from the seed."""
    torch.manual_seed(settings.seed)
    values: dict[str, Any] = {
        **settings.model,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": True,
    }
    return LlamaForCausalLM(LlamaConfig(**values))


def rate(settings: Settings, step: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then a cosine down to `final_rate`."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    way = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.final_rate + (1 - settings.final_rate) * (1 + math.cos(math.pi * way)) / 2


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Fix what the order of sums depends on: deterministic kernels and the number of threads."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def train(model: LlamaForCausalLM, blocks: torch.Tensor, settings: Settings) -> list[float]:
    """One pass over the blocks; gives the loss of every step."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    grouped: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        grouped, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(settings, step))
    losses, started = [], time.monotonic()
    for step, batch in enumerate(blocks.split(settings.batch)):
        loss = next_token_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 0 or step + 1 == settings.steps:
            _report(losses, settings, time.monotonic() - started)
    return losses


def next_token_loss(model: LlamaForCausalLM, batch: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy of each token given those before it."""
    logits = model(input_ids=batch, use_cache=False).logits[:, :-1]  # (B, T - 1, V)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten(), reduction=reduction)


def _report(losses: list[float], settings: Settings, seconds: float) -> None:
    done, speed = len(losses), len(losses) / seconds
    recent = sum(losses[-50:]) / len(losses[-50:])
    tokens = speed * settings.batch * settings.block
    left = (settings.steps - done) / speed
    print(
        f"step {done}/{settings.steps}  loss {recent:.3f}  {tokens:,.0f} tokens/s  {left:,.0f} s left", file=sys.stderr
    )


@torch.no_grad()
def held_out(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> dict[str, float]:
    """Perplexity per token (eos included) and bits per byte of the held-out documents."""
    model.eval()
    nats, tokens = 0.0, 0
    for text in documents:
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        nats += next_token_loss(model, ids, reduction="sum").item()
        tokens += ids.numel() - 1
    size = sum(len(text.encode()) for text in documents)
    bits = nats / math.log(2) / size
    loss = nats / tokens
    return {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": bits, "tokens": tokens, "bytes": size}


def thinned(losses: list[float], points: int = 100) -> list[dict[str, float]]:
    """The loss curve as means over equal stretches of steps."""
    width = max(1, math.ceil(len(losses) / points))
    stretches = [losses[i : i + width] for i in range(0, len(losses), width)]
    return [
        {"step": min((i + 1) * width, len(losses)), "loss": round(sum(part) / len(part), 4)}
        for i, part in enumerate(stretches)
    ]


def pretrain(out: Path, settings: Settings) -> dict:
    """From nothing to the finished folder; gives the record that lies in it as training.json."""
    started = time.monotonic()
    tokenizer = train_tokenizer(
        corpus(settings.corpus_seed, settings.tokenizer_documents), settings.model["vocab_size"]
    )
    packed = pack(tokenizer, settings.corpus_seed, settings.steps * settings.batch, settings.block)
    documents = retention_text(settings, packed.fingerprints)
    with repeatable(settings.threads):
        model = build_model(settings, tokenizer)
        losses = train(model, packed.blocks, settings)
        scores = held_out(model.bfloat16().float(), tokenizer, documents)  # scored as it is shipped
    folder = out.with_name(out.name + ".partial")
    shutil.rmtree(folder, ignore_errors=True)
    save(folder, model, tokenizer, documents)
    record = {
        "settings": asdict(settings),
        "parameters": model.num_parameters(),
        "tokens": packed.blocks.numel(),
        "documents": packed.documents,
        "loss_curve": thinned(losses),
        "held_out": scores,
        "seconds": round(time.monotonic() - started, 1),
        "sha256": {"corpus": packed.sha256, **_digests(folder)},
        "versions": _versions(),
        "device": f"cpu {platform.machine()}, {settings.threads} threads, {torch.backends.cpu.get_cpu_capability()}",
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _replace(folder, out)
    return record


def save(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> None:
    """Write weights (bfloat16), configuration, tokenizer and retention text."""
    folder.mkdir(parents=True)
    model.bfloat16().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # the library leaves it readable by its writer alone
    tokenizer.save_pretrained(folder)
    (folder / "retention.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    names = ("tokenizer.json", "model.safetensors", "retention.txt")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _versions() -> dict[str, str]:
    found = {module.__name__: module.__version__ for module in (torch, transformers, tokenizers)}
    return {"python": platform.python_version(), **found}


def _replace(folder: Path, out: Path) -> None:
    """Put the finished folder in the place of an older one."""
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser(description="pre-train the embedded backbone tiny_llama")
    parser.add_argument("--steps", type=int, default=Settings.steps, help=f"training steps (default {Settings.steps})")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write")
    options = parser.parse_args(arguments)
    record = pretrain(options.out, replace(Settings(), steps=options.steps))
    print(f"{options.out}: held-out perplexity {record['held_out']['perplexity']:.3f}, {record['seconds']} s")


if __name__ == "__main__":
    main()
