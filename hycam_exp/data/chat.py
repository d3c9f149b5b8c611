"""Token ids of a chat: special tokens of the chat template are ids, their names in the data are text.

A template ends a turn with a special token, so unlike in the other styles special tokens must be read in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hycam_exp.data.prompts import question
from hycam_exp.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Spans = tuple[list[int], list[tuple[int, int]]]


def encode(record: Record, prompt: str, tokenizer: PreTrainedTokenizerBase) -> Spans:
    """Ids and places in the text of a rendered prompt and its response; BOS exactly once where there is one."""
    text = prompt + record.output
    begun = bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))
    names = _special_names(tokenizer)
    if any(names.search(part) for part in (question(record), record.output)):
        return _pieces(record, prompt, tokenizer, names, begun)
    encoded = tokenizer(
        text, add_special_tokens=not begun, return_offsets_mapping=True, truncation=False, verbose=False
    )
    return encoded["input_ids"], encoded["offset_mapping"]


def _special_names(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """A pattern of every special token's name, the longest first."""
    names = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=lambda n: (-len(n), n))) or r"(?!)")


def _pieces(
    record: Record, prompt: str, tokenizer: PreTrainedTokenizerBase, names: re.Pattern[str], begun: bool
) -> Spans:
    """The text cut at the template's special tokens, so that those of the data are none.

    Raises:
        ValueError: the template changes what the user says.
    """
    ids: list[int] = []
    places: list[tuple[int, int]] = []
    if not begun:
        start = [i for i in tokenizer("")["input_ids"] if i == tokenizer.bos_token_id]
        ids, places = start, [(0, 0)] * len(start)
    for first, last, special in _cuts(record, prompt, names):
        text = (prompt + record.output)[first:last]
        if special:
            token = tokenizer.convert_tokens_to_ids(text)
            assert isinstance(token, int), "one name, one id"
            ids.append(token)
            places.append((first, last))
            continue
        encoded = tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, truncation=False,
            verbose=False,
        )  # fmt: skip
        ids += encoded["input_ids"]
        places += [(a + first, b + first) for a, b in encoded["offset_mapping"]]
    return ids, places


def _cuts(record: Record, prompt: str, names: re.Pattern[str]) -> Iterator[tuple[int, int, bool]]:
    """First and last place of each piece, and whether it is a special token of the template."""
    said = question(record).strip()  # many templates strip what is said
    start = prompt.find(said)
    if start < 0:
        raise ValueError("data.prompt=chat: the chat template changes the text of a record that names special tokens")
    end, position = start + len(said), 0
    total = len(prompt) + len(record.output)
    for match in names.finditer(prompt):
        if match.end() > start and match.start() < end:
            continue
        if match.start() > position:
            yield position, match.start(), False
        yield *match.span(), True
        position = match.end()
    if position < total:
        yield position, total, False
