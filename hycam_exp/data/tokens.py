"""Records as token ids: prompt and response tokenised once, as one text.

A token belongs to the response if it ends past the prompt's last character. EOS is appended and trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hycam_exp.data import chat
from hycam_exp.data.prompts import CHAT, render
from hycam_exp.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


CHUNK = 2000  # records


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A record as a model sees it; `input_ids[:prompt_length]` is what a response is generated from."""

    id: str
    task: str
    group: str
    reference: str
    """The full raw answer, also where the ids are truncated."""
    input_ids: list[int]
    prompt_length: int
    response_bytes: int
    """UTF-8 bytes of the response that the ids cover."""
    ends: bool
    """The last id is EOS: the response was not cut."""

    @property
    def has_response(self) -> bool:
        """Some of the response is within the length; false where the prompt alone fills it."""
        return self.prompt_length < len(self.input_ids)

    def num_targets(self, loss_on: str) -> int:
        """How many tokens are scored; the first token of a text has nothing to be predicted from."""
        return len(self.input_ids) - (self.prompt_length if loss_on == "response" else 1)


def tokenise(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int
) -> tuple[list[Tokens], list[Record]]:
    """The records' tokens, and the records that have no response token within `max_length`.

    Raises:
        ValueError: as `encode`.
    """
    kept, lost = [], []
    for chunk in chunks(records):
        for record, tokens in zip(chunk, encode(chunk, tokenizer, style, max_length), strict=True):
            if tokens.has_response:
                kept.append(tokens)
            else:
                lost.append(record)
    return kept, lost


def chunks(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Parts that are tokenised at once: on all cores, in bounded memory."""
    return (records[i : i + CHUNK] for i in range(0, len(records), CHUNK))


def encode(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int) -> list[Tokens]:
    """Every record's tokens, those that have no room for a response included.

    Raises:
        ValueError: the tokenizer has no EOS, cannot tell where in the text a token lies, or has no chat template.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no EOS token, so no response could ever end")
    if not tokenizer.is_fast:
        raise ValueError(f"{tokenizer.name_or_path}: a fast tokenizer (tokenizer.json) is needed for token offsets")
    prompts = [render(style, r, tokenizer) for r in records]
    encoded = _encoded(records, prompts, tokenizer, style)
    return [
        _tokens(record, prompt, text, tokenizer.eos_token_id, max_length)
        for record, prompt, text in zip(records, prompts, encoded, strict=True)
    ]


class Encoded(Protocol):
    """A text as ids, and where in it each of them lies; `tokenizers.Encoding` is one."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...

    def char_to_token(self, char_pos: int) -> int | None: ...

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Ids with their offsets, searched one by one."""

    ids: list[int]
    offsets: list[tuple[int, int]]

    def char_to_token(self, char_pos: int) -> int | None:
        """The first token that ends past a character; None where none does."""
        return next((i for i, (_, end) in enumerate(self.offsets) if end > char_pos), None)

    def token_to_chars(self, token_index: int) -> tuple[int, int]:
        """First character of a token, and the one after its last."""
        return self.offsets[token_index]


def _encoded(
    records: Sequence[Record], prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, style: str
) -> Iterable[Encoded]:
    """Each record's prompt and response as one text."""
    if not records:
        return []
    if style == CHAT:
        return (
            Listed(*chat.encode(record, prompt, tokenizer)) for record, prompt in zip(records, prompts, strict=True)
        )
    texts = [prompt + record.output for record, prompt in zip(records, prompts, strict=True)]
    # Truncation is ours: the tokenizer's own would hide how many were cut.
    # The name of a special token in the data is text: it neither ends a response nor begins one.
    encodings = tokenizer(texts, truncation=False, split_special_tokens=True, verbose=False).encodings
    assert encodings is not None, "a fast tokenizer"
    return encodings


def _tokens(record: Record, prompt: str, text: Encoded, eos: int, max_length: int) -> Tokens:
    """One record's tokens, with EOS exactly once, cut on the right."""
    ids = text.ids
    while ids and ids[-1] == eos and _end(text, len(ids) - 1) is None:  # a tokenizer that ends texts itself
        ids = ids[:-1]
    ends = len(ids) < max_length
    whole, ids = len(ids), ids[:max_length]
    # A list of all offsets costs as much as tokenising, and is needed for no text that is covered without a gap.
    first = text.char_to_token(len(prompt))
    if first is None:
        first = Listed(text.ids, text.offsets).char_to_token(len(prompt))
    covered = next((end for i in reversed(range(len(ids))) if (end := _end(text, i)) is not None), 0)
    return Tokens(
        id=record.id,
        task=record.task,
        group=record.group,
        reference=record.output,
        input_ids=[*ids, eos] if ends else ids,
        prompt_length=whole if first is None else first,
        response_bytes=len(record.output[: max(0, covered - len(prompt))].encode()),
        ends=ends,
    )


def _end(text: Encoded, token: int) -> int | None:
    """Where a token's text ends; None for one that stands for no text."""
    place = text.token_to_chars(token)
    return None if place is None or place[0] == place[1] else place[1]
