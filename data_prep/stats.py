"""The paper's Table 1 for what is on disk, beside the published row.

A record's tokens are BOS and prompt and output as one text, without EOS: so counted, Auto-CoT's published total comes
out exactly. The lengths of records are those that training sees, where prompt and response are tokenised apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import tasks
from data_prep.manifest import sha256
from data_prep.printed import percent, table
from hycam_exp.data import sources
from hycam_exp.data.records import Record, content_hash
from hycam_exp.data.table1 import Counted, Measured, datasets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PERCENTILES = (50, 90, 95, 99, 100)


@dataclass(frozen=True, kw_only=True)
class TaskStatistics:
    """One task as measured; tokens are None without a tokenizer."""

    task: str
    files: list[str]
    rejected: int
    samples: int
    content: str
    """The hash of its records."""
    total: int | None
    """Tokens of all records, as Table 1 counts them."""
    lengths: list[int] | None
    """Tokens that training sees of each record, without EOS, in increasing order."""
    without_response: int | None
    """Records whose prompt alone fills the maximum length."""
    max_length: int

    @property
    def average(self) -> float | None:
        """Tokens a record, to two decimals."""
        return None if self.total is None else round(self.total / self.samples, 2)

    @property
    def truncated(self) -> float | None:
        """The share of records that, with EOS, are longer than the maximum length."""
        if self.lengths is None:
            return None
        return sum(length + 1 > self.max_length for length in self.lengths) / len(self.lengths)

    def percentile(self, percent: int) -> int | None:
        """The smallest length that so many percent of the records do not exceed."""
        if self.lengths is None:
            return None
        return self.lengths[max(0, math.ceil(percent / 100 * len(self.lengths)) - 1)]


def measured(
    task: str, root: Path, tokenizer: "PreTrainedTokenizerBase | None", style: str, max_length: int
) -> TaskStatistics:
    """The row of a task under `root`."""
    found = sources.read([task], str(root))
    total, lengths, without = None, None, None
    if tokenizer is not None:
        from hycam_exp.data.tokens import text_lengths

        total = sum(text_lengths(found.records, tokenizer, style))
        lengths, without = _lengths(found.records, tokenizer, style, max_length)
    return TaskStatistics(
        task=task,
        files=[source.name for source in found.sources],
        rejected=len(found.rejections),
        samples=len(found.records),
        content=content_hash(found.records),
        total=total,
        lengths=lengths,
        without_response=without,
        max_length=max_length,
    )


def _lengths(
    records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase", style: str, max_length: int
) -> tuple[list[int], int]:
    """The records' lengths in increasing order, and how many keep no response token."""
    from hycam_exp.data.tokens import NO_LIMIT, tokenise

    rows, lost = tokenise(records, tokenizer, style, NO_LIMIT)
    assert not lost, "a record without a response"
    return sorted(len(r.input_ids) - 1 for r in rows), sum(r.prompt_length >= max_length for r in rows)


def _published() -> dict[str, dict[str, Any]]:
    """Table 1's rows by task."""
    return {
        row.task: {key: getattr(row, key) for key in ("samples", "total_tokens", "average", "domain")}
        for row in datasets()
    }


def report(rows: Sequence[TaskStatistics]) -> dict[str, Any]:
    """What was measured and what was published, for programs."""
    of_paper = _published()
    return {"rows": [_reported(row) | {"published": of_paper.get(row.task)} for row in rows]}


def _reported(row: TaskStatistics) -> dict[str, Any]:
    about = tasks.TASKS.get(row.task)
    return {
        "task": row.task,
        "domain": about.domain if about else None,
        "source": about.source if about else None,
        "hub_id": about.hub_id if about else None,
        "files": row.files,
        "rejected": row.rejected,
        "measured": {"samples": row.samples, "total_tokens": row.total, "average": row.average},
        "percentiles": None if row.lengths is None else {str(p): row.percentile(p) for p in PERCENTILES},
        "max_length": row.max_length,
        "truncated": row.truncated,
        "without_response": row.without_response,
    }


def counts(rows: Sequence[TaskStatistics], tokenizer: Path, style: str) -> Measured:
    """What the report's Table 1 has of them."""
    counted = {
        row.task: Counted(samples=row.samples, total_tokens=row.total, content=row.content)
        for row in rows
        if row.total is not None
    }
    digest = sha256(tokenizer / "tokenizer.json")
    return Measured(tokenizer=tokenizer.resolve().name, tokenizer_sha256=digest, prompt=style, tasks=counted)


def printed(rows: Sequence[TaskStatistics]) -> str:
    """Both tables, for people."""
    of_paper = _published()
    head = ["task", "samples", "tokens", "average", "paper: samples", "tokens", "average", "domain", "source"]
    body = []
    for row in rows:
        paper, about = of_paper.get(row.task, {}), tasks.TASKS.get(row.task)
        body.append(
            [
                row.task, row.samples, row.total, row.average,
                *(paper.get(key) for key in ("samples", "total_tokens", "average")),
                about.domain if about else "-", about.source if about else "-",
            ]
        )  # fmt: skip
    text = table(head, body)
    if any(row.lengths is None for row in rows):
        return f"{text}\n\nTokens are counted with --tokenizer DIR (Table 1: Llama 3's)."
    limit = rows[0].max_length
    lengths = [
        [
            row.task, *(row.percentile(p) for p in PERCENTILES), percent(row.truncated), row.without_response,
            row.rejected,
        ]
        for row in rows
    ]  # fmt: skip
    names = [f"p{p}" if p < 100 else "longest" for p in PERCENTILES]
    return f"{text}\n\n{table(['task', *names, f'cut at {limit:,}', 'no response left', 'rejected rows'], lengths)}"
