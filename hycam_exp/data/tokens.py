"""Records as token ids: prompt and response tokenised apart and joined; EOS is appended, and trained.

So the prompt's ids are those that a model sees at inference, whatever the answer. Tokenised as one text, the last
character of a prompt and the first of its answer may become one token, which tells something of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from hycam_exp.data import chat
from hycam_exp.data.prompts import CHAT, render
from hycam_exp.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


CHUNK = 2000  # records
NO_LIMIT = 10**9
SHOWN = 20  # names of special tokens in an error


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
        ValueError: the tokenizer has no EOS, cannot tell where in the text a token lies, or as `prompt_ids`.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no EOS token, so no response could ever end")
    if not tokenizer.is_fast:
        raise ValueError(f"{tokenizer.name_or_path}: a fast tokenizer (tokenizer.json) is needed for token offsets")
    if not records:
        return []
    prompts = prompt_ids(records, tokenizer, style)
    lead = lead_of(tokenizer)
    responses = _encodings([lead + record.output for record in records], tokenizer)
    return [
        _tokens(record, prompt, response, len(lead), tokenizer.eos_token_id, max_length)
        for record, prompt, response in zip(records, prompts, responses, strict=True)
    ]


def prompt_ids(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str) -> list[list[int]]:
    """What each record's response is generated from, in training and at inference: the answer decides none of it.

    BOS stands once, where the tokenizer puts it before a text or the chat template writes it.

    Raises:
        ValueError: the tokenizer has no chat template, or one that cannot render a record.
    """
    texts = [render(style, record, tokenizer) for record in records]
    if style == CHAT:
        bodies = chat.prompt_ids(records, texts, tokenizer)
    else:
        bodies = [encoding.ids for encoding in _encodings(texts, tokenizer)]
    start = beginning(tokenizer)
    return [ids if ids[: len(start)] == start else [*start, *ids] for ids in bodies]


def beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that a tokenizer puts before a text: BOS, or none."""
    encodings = tokenizer(["a"]).encodings
    assert encodings is not None, "a fast tokenizer"
    (encoding,) = encodings
    special = takewhile(lambda pair: pair[1], zip(encoding.ids, encoding.special_tokens_mask, strict=True))
    return [id for id, _ in special]


def lead_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """What a response is tokenised behind, so that decoding its ids gives back all of it.

    A response is a text of its own. Tokenizers after SentencePiece (Llama 2, Mistral) put a space before a text and
    drop it in decoding: "Four" is "_Four", which behind "### Response:" reads "### Response: Four", as their chat
    formats have it. Mistral's puts none before a text that begins with one, so that "Four" and " Four" would be the
    same ids: there the space is written here, always. Other tokenizers (bytes: Llama 3, Qwen 2.5) add nothing.
    """
    plain, spaced = _encodings(["a", " a"], tokenizer)
    return " " if plain.ids == spaced.ids else ""


def _encodings(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Sequence[Any]:
    """Each text as a `tokenizers.Encoding` of its ids and their places in it, without BOS or EOS."""
    # Truncation is ours: the tokenizer's own would hide how many were cut.
    # The name of a special token in the data is text: it neither ends a response nor begins one.
    encodings = tokenizer(
        list(texts), add_special_tokens=False, truncation=False, split_special_tokens=True, verbose=False
    ).encodings
    assert encodings is not None, "a fast tokenizer"
    return encodings


def _tokens(record: Record, prompt: list[int], response: Any, lead: int, eos: int, max_length: int) -> Tokens:
    """One record's tokens, with EOS exactly once, cut on the right; `lead` characters stand before the response."""
    whole = [*prompt, *response.ids]
    ends = len(whole) < max_length
    covered = len(record.output)
    if len(whole) > max_length:
        kept = response.offsets[: max(0, max_length - len(prompt))]
        # Up to the last token that stands for characters; one of part of a character's bytes stands for it whole.
        covered = max(0, next((end for start, end in reversed(kept) if end > start), 0) - lead)
    return Tokens(
        id=record.id,
        task=record.task,
        group=record.group,
        reference=record.output,
        input_ids=[*whole, eos] if ends else whole[:max_length],
        prompt_length=len(prompt),
        response_bytes=len(record.output[:covered].encode()),
        ends=ends,
    )


def text_lengths(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, style: str) -> list[int]:
    """Each record's number of tokens as the paper's Table 1 counts them: prompt and output as one text, without EOS.

    A chat's prompt has special tokens, so there the parts are counted.
    """
    if style == CHAT:
        return [len(row.input_ids) - 1 for row in encode(records, tokenizer, style, NO_LIMIT)]
    texts = [render(style, record) + record.output for record in records]
    start = len(beginning(tokenizer))
    return [start + len(encoding.ids) for encoding in _encodings(texts, tokenizer)] if texts else []


def end_with(tokenizer: PreTrainedTokenizerBase, eos: str | None) -> None:
    """Make a special token the one that ends a response (`data.eos`), for training, scores and decoding alike.

    It becomes the tokenizer's EOS, so that a saved tokenizer says where its model stops.

    Raises:
        ValueError: the tokenizer has no such special token; names those it has.
    """
    if eos is None:
        return
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    if eos not in special:
        names = ", ".join(special[:SHOWN]) + (", ..." if len(special) > SHOWN else "")
        raise ValueError(f"data.eos={eos}: no special token of {tokenizer.name_or_path}, which has {names or 'none'}")
    tokenizer.eos_token = eos


def other_ending(tokenizer: PreTrainedTokenizerBase, style: str) -> str | None:
    """That the chat template ends an answer with another token than EOS, and the way out; None where it does not.

    Raises:
        ValueError: the template cannot render a chat.
    """
    found = chat.ending(tokenizer) if style == CHAT else None
    if found is None or found == tokenizer.eos_token:
        return None
    return (
        f"the chat template ends an answer with {found}, and responses are trained to end with "
        f"{tokenizer.eos_token}: data.eos='{found}' ends them as the template does"
    )
