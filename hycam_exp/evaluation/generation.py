"""Greedy decoding with a KV cache: sorted by length, streamed to disk, continued where it was interrupted."""

import hashlib
import json
import logging
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hycam_exp.data.tokens import Tokens
from hycam_exp.methods import backbone_of, task_rows
from hycam_exp.methods.recognition import has_position_embeddings
from hycam_exp.runtime import ranks
from hycam_exp.runtime.files import write_atomically


def nothing() -> None:
    """Keep nothing beside the predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A decoded response; `capped`: it reached its most new tokens without EOS."""

    id: str
    task: str
    text: str
    tokens: int
    capped: bool


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Greedy decoding of prompts with one model."""

    model: Any
    tokenizer: Any
    max_new_tokens: int
    positions: int | None
    pad_id: int
    lockstep: bool = False
    """No rank can compute alone: each makes as many steps as the longest response of all ranks needs."""
    withheld: bool = False
    """A method that is told the task is told of none."""

    def limit(self, row: Tokens) -> int:
        """The most new tokens of one prompt: the cap, or what the model's positions leave."""
        left = self.max_new_tokens if self.positions is None else self.positions - row.prompt_length
        return max(1, min(self.max_new_tokens, left))

    @torch.no_grad()  # as in perplexity
    def decode(self, rows: Sequence[Tokens]) -> list[Prediction]:
        """One batch of prompts, padded on the left; each row keeps to its own limit."""
        self.model.eval()
        longest = max(row.prompt_length for row in rows)
        device = next(self.model.parameters()).device
        input_ids = torch.full((len(rows), longest), self.pad_id)
        mask = torch.zeros_like(input_ids)
        for index, row in enumerate(rows):
            input_ids[index, longest - row.prompt_length :] = torch.tensor(row.input_ids[: row.prompt_length])
            mask[index, longest - row.prompt_length :] = 1
        with _plain(self.model), task_rows(self.model, [] if self.withheld else [row.task for row in rows]):
            decoded = self.model.generate(
                input_ids=input_ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max(self.limit(row) for row in rows),
                do_sample=False,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.pad_id,
                use_cache=True,
                synced_gpus=self.lockstep,
            )[:, longest:].tolist()
        return [self._prediction(row, ids) for row, ids in zip(rows, decoded, strict=True)]

    def _prediction(self, row: Tokens, ids: list[int]) -> Prediction:
        ids = ids[: self.limit(row)]
        eos = self.tokenizer.eos_token_id
        ended = eos in ids
        ids = ids[: ids.index(eos)] if ended else ids
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Prediction(id=row.id, task=row.task, text=text, tokens=len(ids), capped=not ended)

    def _batches(self, rows: Sequence[Tokens], batch_size: int) -> list[list[Tokens]]:
        """Batches of prompts of similar length; where positions have embeddings, of one limit, which none may pass."""
        order = sorted(rows, key=lambda row: (row.prompt_length, row.task, row.id))
        bound = any(self.limit(row) < self.max_new_tokens for row in order) and has_position_embeddings(self.model)
        groups = [list(group) for _, group in groupby(order, key=self.limit)] if bound else [order]
        return [group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)]

    def decode_all(
        self, rows: Sequence[Tokens], batch_size: int, path: Path, what: str, keep: Callable[[], None] = nothing
    ) -> list[Prediction]:
        """Every row's prediction, in the rows' order; finished batches are on disk, and are not decoded again.

        The first rank calls `keep` after each of its batches.
        """
        if ranks.is_first():
            path.parent.mkdir(parents=True, exist_ok=True)
            _merge(path)
        done = ranks.from_first(lambda: {p.id: p for p in _read(path)})
        missing = [members for members in self._batches(rows, batch_size) if not all(row.id in done for row in members)]
        own = path if ranks.is_first() else path.with_name(f"{path.name}.rank{ranks.rank()}")
        with own.open("a", encoding="utf-8") as stream:
            for members, counts in tqdm(ranks.share(missing), desc=what, unit="batch", disable=None, leave=False):
                if not counts and not self.lockstep:
                    continue
                for prediction in self.decode(members):
                    if not counts or prediction.id in done:  # written before an interruption cut its batch off
                        continue
                    done[prediction.id] = prediction
                    stream.write(_line(prediction))
                stream.flush()
                if ranks.is_first():
                    keep()
        done = dict(ChainMap(*ranks.gathered(done)))
        if ranks.is_first():
            _merge(path)
        return [done[row.id] for row in rows]


def _line(prediction: Prediction) -> str:
    """A prediction as its file holds it, with the digest of all the rest."""
    fields = asdict(prediction)
    return json.dumps({**fields, "digest": _digest(fields)}, ensure_ascii=False) + "\n"


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def _prediction(line: bytes) -> Prediction | None:
    """The prediction of a line; None where the line is not what was written."""
    try:
        fields = json.loads(line)
        intact = fields.pop("digest") == _digest(fields)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return Prediction(**fields) if intact else None


def _merge(path: Path) -> None:
    """Put what other ranks wrote, in this attempt or one before, into the first rank's file."""
    there = {p.id for p in _read(path)}
    for part in sorted(path.parent.glob(f"{path.name}.rank*")):
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(_line(p) for p in _read(part) if p.id not in there)
        part.unlink()


def _read(path: Path) -> list[Prediction]:
    """The predictions of a file; a line that was cut off by an interruption, or damaged, is removed from it."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    found = [_prediction(line) if line.endswith(b"\n") else None for line in lines]
    if damaged := [line for line, prediction in zip(lines, found, strict=True) if prediction is None]:
        if damaged != lines[-1:] or damaged[0].endswith(b"\n"):
            print(f"note: {path}: {len(damaged)} lines were damaged and are decoded again", file=sys.stderr)
        whole = [line for line, prediction in zip(lines, found, strict=True) if prediction is not None]
        write_atomically(path, b"".join(whole))
    return [prediction for prediction in found if prediction is not None]


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Without the backbone's own generation config, whose penalties and limits would change greedy decoding."""
    from transformers import GenerationConfig

    backbone = backbone_of(model)
    own, backbone.generation_config = backbone.generation_config, GenerationConfig()
    # It warns that padding and text together pass the model's positions; each row's own text keeps within them.
    warner = logging.getLogger("transformers.generation.stopping_criteria")
    level = warner.level
    warner.setLevel(logging.ERROR)
    try:
        yield
    finally:
        backbone.generation_config = own
        warner.setLevel(level)
