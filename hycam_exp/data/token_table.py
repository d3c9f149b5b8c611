"""The records of a mix as tokens in a memory-mapped Arrow file: made once, then shared by folds, methods and seeds.

A file is found by a hash of everything that decides its tokens, `RESULTS_VERSION` for the code that makes them, and one
whose digest is not that of its seal is made again. Deleting one only costs the time to make it again.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

from hycam_exp.data.records import Record, content_hash, digest
from hycam_exp.data.tokens import Tokens, chunks, encode
from hycam_exp.records.version import RESULTS_VERSION
from hycam_exp.runtime.files import is_intact, sealing, sweep, temporary_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

COLUMNS = {
    "id": "string", "task": "string", "group": "string", "reference": "large_string", "input_ids": "int32",
    "prompt_length": "int32", "response_bytes": "int64", "ends": "bool",
}  # fmt: skip
ABANDONED = 3600.0  # seconds for which a chunk that is tokenised never takes
assert set(COLUMNS) == {field.name for field in fields(Tokens)}


class TokenTable(Sequence[Tokens]):
    """Rows of a token file, read from it one by one."""

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Tokens: ...

    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...

    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Tokens(**self._rows[index])

    @cached_property
    def lengths(self) -> list[int]:
        """Each row's number of tokens."""
        import pyarrow.compute

        rows = self._rows.with_format("arrow")[:]["input_ids"]
        return pyarrow.compute.list_value_length(rows).to_pylist()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._rows["id"])}

    def select(self, ids: Iterable[str]) -> TokenTable:
        """The rows of these ids, in their order; an id may come more than once."""
        return TokenTable(self._rows.select([self._places[name] for name in ids]))

    @cached_property
    def without_response(self) -> set[str]:
        """The ids of the rows whose prompt fills the length."""
        starts = zip(self._rows["id"], self._rows["prompt_length"], self.lengths, strict=True)
        return {name for name, prompt_length, length in starts if prompt_length >= length}


def token_table(
    of: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int, folder: Path
) -> TokenTable:
    """The records' tokens by id, from the folder's file of them, which is made where there is none or a damaged one.

    Raises:
        ValueError: as `encode`.
        OSError: the file cannot be written.
    """
    from datasets import Dataset

    path = folder / f"{key(of, tokenizer, style, max_length)}.arrow"
    if not is_intact(path):
        if path.is_file():
            print(f"note: {path}: damaged, or never sealed; its tokens are made again", file=sys.stderr)
        # By id, so that whoever makes the file at the same time makes the same bytes.
        _make(path, sorted(of, key=lambda record: record.id), tokenizer, style, max_length)
    return TokenTable(Dataset.from_file(str(path)))


def key(of: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int) -> str:
    """A hash of content, tokenizer, template, length, and the versions of what makes tokens of them."""
    versions = (str(RESULTS_VERSION), importlib.metadata.version("tokenizers"))
    return digest(content_hash(of), _tokenizer_text(tokenizer), style, str(max_length), *versions)[:32]


def _tokenizer_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """Everything of a tokenizer that decides ids."""
    if not tokenizer.is_fast:
        return tokenizer.name_or_path  # refused by `encode`
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # a call without truncation and padding sets the same
    backend.no_padding()
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, sorted(tokenizer.added_tokens_decoder))
    return digest(backend.to_str(), repr(special), str(tokenizer.chat_template))


def _make(path: Path, of: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int) -> None:
    """Write the file under another name and put it in its place whole, whoever else does the same."""
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.glob(".*"), quiet=ABANDONED)
    part = temporary_of(path)
    columns = Features({name: List(Value(t)) if name == "input_ids" else Value(t) for name, t in COLUMNS.items()})
    try:
        with (
            part.open("wb") as stream,
            ArrowWriter(features=columns, stream=stream) as writer,
            tqdm(total=len(of), desc="tokenising", unit="record", disable=None, leave=False) as bar,
        ):
            for chunk in chunks(of):
                rows = encode(chunk, tokenizer, style, max_length)
                writer.write_batch({name: [getattr(row, name) for row in rows] for name in COLUMNS})
                bar.update(len(rows))
            writer.finalize(close_stream=False)
            stream.flush()
            os.fsync(stream.fileno())
        with sealing(path, part):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
