"""Retention: how the perplexity of general text changes from before to after adaptation.

The paper claims less forgetting and never measures it.
"""

import re
from pathlib import Path
from typing import Any

from hycam_exp.data.records import digest
from hycam_exp.data.tokens import Tokens

TASK = "retention"


def documents(text: str) -> list[str]:
    """A text file's documents: blocks separated by blank lines, which may hold spaces (WikiText's do)."""
    return [block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()]


def rows(path: Path, tokenizer: Any, length: int) -> list[Tokens]:
    """The text's documents in windows of at most `length` tokens, every token but a window's first scored once.

    A window starts with BOS where the tokenizer has one; windows do not overlap.

    Raises:
        ValueError: the file cannot be read, or holds no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"model.retention_text={path}: {error}") from error
    found = documents(text)
    if not found:
        raise ValueError(f"model.retention_text={path}: no text in it")
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    encoded = tokenizer(found, add_special_tokens=False, truncation=False, split_special_tokens=True, verbose=False)[
        "input_ids"
    ]
    step = length - len(start)
    windows = [start + ids[i : i + step] for ids in encoded for i in range(0, len(ids), step)]
    return [_tokens(index, window) for index, window in enumerate(windows) if len(window) > 1]


def _tokens(index: int, ids: list[int]) -> Tokens:
    return Tokens(
        id=f"{index:06d}-{digest(str(ids))[:8]}",
        task=TASK,
        group="",
        reference="",
        input_ids=ids,
        prompt_length=1,
        response_bytes=0,
        ends=False,
    )
