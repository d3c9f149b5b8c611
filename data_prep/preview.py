"""Records as training sees them: the rendered prompt with its tokens, and each token's label.

It goes through `data.tokens` and `data.batches`, so what is shown is what is trained on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import hycam_exp.data
from hycam_exp.data import sources
from hycam_exp.runtime.command_line import visible

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hycam_exp.data.tokens import Tokens

EMBEDDED = Path(hycam_exp.data.__file__).parents[1] / "assets" / "tiny_llama"
COLOURS = {"prompt": "36", "response": "32", "EOS": "1;31", "padding": "90"}
IGNORE = -100


@dataclass(frozen=True, slots=True)
class Token:
    """One position of a padded row."""

    kind: str
    """prompt, response, EOS or padding."""
    id: int
    label: int | None
    """What is trained here; None where nothing is."""
    text: str


def tokenizer_at(folder: Path | None) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder, by default the embedded one.

    Raises:
        ValueError: there is none.
    """
    path = folder or EMBEDDED
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"--tokenizer {path}: no tokenizer.json there (a tokenizer in Hugging Face form is needed)")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(path), trust_remote_code=False)


def ended(tokenizer: "PreTrainedTokenizerBase", style: str, eos: str | None) -> str | None:
    """Let responses end with a special token, by default EOS; a sentence where the chat template has another.

    Raises:
        ValueError: there is no such token, or the template cannot render a chat.
    """
    from hycam_exp.data.tokens import end_with, other_ending

    end_with(tokenizer, eos)
    return other_ending(tokenizer, style)


def rows(
    task: str, root: Path | None, tokenizer: "PreTrainedTokenizerBase", style: str, max_length: int, count: int
) -> list["Tokens"]:
    """The first records of a task, in order of content, as token ids.

    Raises:
        ValueError: none of them keeps a response token.
    """
    from hycam_exp.data.tokens import tokenise

    records = sources.read([task], None if root is None else str(root)).records[:count]
    found, lost = tokenise(records, tokenizer, style, max_length)
    if not found:
        raise ValueError(f"the first {len(lost)} records of {task} keep no response token in {max_length} tokens")
    return found


def padded(found: Sequence["Tokens"], tokenizer: "PreTrainedTokenizerBase", loss_on: str) -> Iterator[list[Token]]:
    """Each row of the batch that the records make."""
    from hycam_exp.data.batches import collate

    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    batch = collate(found, pad, loss_on)
    for row, ids, mask, labels in zip(found, batch.input_ids, batch.attention_mask, batch.labels, strict=True):
        kinds = [_kind(row, i, bool(real)) for i, real in enumerate(mask.tolist())]
        texts = _texts(tokenizer, ids.tolist())
        yield [
            Token(kind, id, None if label == IGNORE else label, text)
            for kind, id, label, text in zip(kinds, ids.tolist(), labels.tolist(), texts, strict=True)
        ]


def _kind(row: "Tokens", position: int, real: bool) -> str:
    if not real:
        return "padding"
    if position < row.prompt_length:
        return "prompt"
    return "EOS" if row.ends and position == len(row.input_ids) - 1 else "response"


def _texts(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> list[str]:
    """Each token's own text; a special token's name."""
    return [_text(tokenizer, [id]) for id in ids]


def _text(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False))


def printed(
    found: Sequence["Tokens"], tokenizer: "PreTrainedTokenizerBase", loss_on: str, colour: bool, ids: bool
) -> str:
    """The records one below the other; with `ids` a line for every token."""
    parts = []
    for row, tokens in zip(found, padded(found, tokenizer, loss_on), strict=True):
        trained = sum(token.label is not None for token in tokens)
        cut = "" if row.ends else ", cut on the right"
        title = f"== {row.task} {row.id}: {len(row.input_ids)} tokens, {trained} trained{cut}"
        parts.append(f"{title}\n{_listed(tokens, colour) if ids else _flowing(tokens, tokenizer, colour)}")
    return "\n\n".join(parts)


def _listed(tokens: Sequence[Token], colour: bool) -> str:
    lines = (
        f"{i:5d}  {t.kind:8s}  {t.id:7d}  {'-' if t.label is None else t.label:>7}  {t.text!a}"
        for i, t in enumerate(tokens)
    )
    painted = (_paint(line, token.kind, colour) for line, token in zip(lines, tokens, strict=True))
    return "\n".join([f"{'':5s}  {'kind':8s}  {'id':>7s}  {'label':>7s}  token", *painted])


def _flowing(tokens: Sequence[Token], tokenizer: "PreTrainedTokenizerBase", colour: bool) -> str:
    """The text in stretches of one kind, each under its name."""
    lines = []
    for kind, group in groupby(tokens, key=lambda token: token.kind):
        members = list(group)
        trained = "trained" if members[0].label is not None or members[-1].label is not None else "not trained"
        lines.append(f"[{kind}: {len(members)}, {trained}]")
        if kind != "padding":
            lines.append(_paint(visible(_text(tokenizer, [token.id for token in members])), kind, colour))
    return "\n".join(lines)


def _paint(text: str, kind: str, colour: bool) -> str:
    """The text in its kind's colour; every line by itself, so that a pager keeps it."""
    if not colour:
        return text
    return "\n".join(f"\033[{COLOURS[kind]}m{line}\033[0m" for line in text.split("\n"))
