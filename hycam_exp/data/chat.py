"""Token ids of a chat: special tokens of the chat template are ids, their names in the data are text.

A template ends a turn with a special token, so unlike in the other styles special tokens must be read in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hycam_exp.data.prompts import question, rendered
from hycam_exp.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(
    records: Sequence[Record], prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Ids of the records' rendered prompts, with BOS only where the template writes it.

    Raises:
        ValueError: a record names a special token, and the template changes what the user says.
    """
    names, before = _special_names(tokenizer), _line_end(tokenizer)
    ids: list[list[int]] = _read(list(prompts), tokenizer, special=True)
    for place, record in enumerate(records):
        if names.search(question(record)):
            ids[place] = []
            for first, last, special in _cuts(record, prompts[place], names):
                lead = before if first and not special else ""
                read = _read(lead + prompts[place][first:last], tokenizer, special)
                ids[place] += read[len(_read(lead, tokenizer, special)) :]
    return ids


def _line_end(tokenizer: PreTrainedTokenizerBase) -> str:
    """What a text behind a special token is read behind, so that its ids are those that it has in the whole prompt.

    A line end where the tokenizer puts a space before a text, and none behind a special token (Mistral's): the piece by
    itself would get one. Nothing elsewhere.
    """
    special = str(tokenizer.eos_token)
    whole = _read(f"{special}a", tokenizer, special=True)
    return "" if whole == _read(special, tokenizer, special=True) + _read("a", tokenizer, special=True) else "\n"


def _read(text: str | list[str], tokenizer: PreTrainedTokenizerBase, special: bool) -> Any:
    """Ids of a text, or of each of several, whose special tokens' names are tokens, or are text."""
    return tokenizer(
        text, add_special_tokens=False, split_special_tokens=not special, truncation=False, verbose=False
    )["input_ids"]  # fmt: skip


def ending(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The special token with which the chat template ends an answer; None where it writes none.

    Raises:
        ValueError: the template cannot render a chat.
    """
    answer = "An answer."
    chat = [{"role": "user", "content": "A question."}, {"role": "assistant", "content": answer}]
    _, _, after = rendered(tokenizer, chat, add_generation_prompt=False).rpartition(answer)
    found = _special_names(tokenizer).search(after)
    return found.group() if found else None


def _special_names(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """A pattern of every special token's name, the longest first."""
    names = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=lambda n: (-len(n), n))) or r"(?!)")


def _cuts(record: Record, prompt: str, names: re.Pattern[str]) -> Iterator[tuple[int, int, bool]]:
    """The text cut at the template's special tokens, so that names in the data are none: places, and whether special.

    Raises:
        ValueError: the template changes what the user says.
    """
    said = question(record).strip()  # many templates strip what is said
    start = prompt.find(said)
    if start < 0:
        raise ValueError("data.prompt=chat: the chat template changes the text of a record that names special tokens")
    end, position = start + len(said), 0
    for match in names.finditer(prompt):
        if match.end() > start and match.start() < end:
            continue
        if match.start() > position:
            yield position, match.start(), False
        yield *match.span(), True
        position = match.end()
    if position < len(prompt):
        yield position, len(prompt), False
