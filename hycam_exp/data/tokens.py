"""Records as token ids: prompt and response tokenised once, as one text.

A token belongs to the response if it ends past the prompt's last character. EOS is appended and trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hycam_exp.data import chat
from hycam_exp.data.prompts import CHAT, render
from hycam_exp.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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

    def num_targets(self, loss_on: str) -> int:
        """How many tokens are scored; the first token of a text has nothing to be predicted from."""
        return len(self.input_ids) - (self.prompt_length if loss_on == "response" else 1)


def tokenise(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str, max_length: int
) -> tuple[list[Tokens], list[Record]]:
    """The records' tokens, and the records that have no response token within `max_length`.

    Raises:
        ValueError: the tokenizer has no EOS, cannot tell where in the text a token lies, or has no chat template.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no EOS token, so no response could ever end")
    if not tokenizer.is_fast:
        raise ValueError(f"{tokenizer.name_or_path}: a fast tokenizer (tokenizer.json) is needed for token offsets")
    if not records:
        return [], []
    prompts = [render(style, r, tokenizer) for r in records]
    kept, lost = [], []
    for record, prompt, spans in zip(records, prompts, _encoded(records, prompts, tokenizer, style), strict=True):
        tokens = _tokens(record, prompt, *spans, tokenizer.eos_token_id, max_length)
        if tokens.prompt_length < len(tokens.input_ids):
            kept.append(tokens)
        else:
            lost.append(record)
    return kept, lost


def _encoded(
    records: Sequence[Record], prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, style: str
) -> Iterable[chat.Spans]:
    """Ids and places in the text of each record's prompt and response."""
    if style == CHAT:
        return (chat.encode(record, prompt, tokenizer) for record, prompt in zip(records, prompts, strict=True))
    texts = [prompt + record.output for record, prompt in zip(records, prompts, strict=True)]
    # Truncation is ours: the tokenizer's own would hide how many were cut.
    # The name of a special token in the data is text: it neither ends a response nor begins one.
    encoded = tokenizer(texts, return_offsets_mapping=True, truncation=False, split_special_tokens=True, verbose=False)
    return zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)


def _tokens(
    record: Record, prompt: str, ids: list[int], offsets: list[tuple[int, int]], eos: int, max_length: int
) -> Tokens:
    """One record's tokens, with EOS exactly once, cut on the right."""
    while ids and ids[-1] == eos and offsets[-1][0] == offsets[-1][1]:  # a tokenizer that ends texts itself
        ids, offsets = ids[:-1], offsets[:-1]
    prompt_length = next((i for i, (_, end) in enumerate(offsets) if end > len(prompt)), len(ids))
    ends = len(ids) < max_length
    ids, offsets = ids[:max_length], offsets[:max_length]
    covered = max((end for _, end in offsets), default=0)
    return Tokens(
        id=record.id,
        task=record.task,
        group=record.group,
        reference=record.output,
        input_ids=[*ids, eos] if ends else ids,
        prompt_length=prompt_length,
        response_bytes=len((prompt + record.output)[len(prompt) : covered].encode()),
        ends=ends,
    )
