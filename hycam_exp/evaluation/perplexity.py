"""Perplexity: sum of nats over scored tokens, divided once.

Per-sample sums are kept, so that every aggregate (per task, pooled, without EOS, bits per byte, the released code's
definition) and every resample of them comes from the same numbers.
"""

import math
from collections import ChainMap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hycam_exp.data.batches import by_length, collate
from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation.metrics import Score, perplexity
from hycam_exp.methods import task_rows
from hycam_exp.runtime import ranks
from hycam_exp.training.loss import target_logits, targets, token_nats

RELEASED_BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNats:
    """One sample's sums: over response and EOS, over the response alone, and over prompt and response."""

    id: str
    task: str
    nats: float
    tokens: int
    text_nats: float
    text_tokens: int
    text_bytes: int
    all_nats: float
    all_tokens: int


@torch.no_grad()  # tensors of inference mode cannot be trained afterwards, and sharded weights are kept
def score(
    model: nn.Module,
    rows: Sequence[Tokens],
    batch_size: int,
    pad_id: int,
    side: str = "right",
    what: str = "perplexity",
    withheld: bool = False,
) -> list[SampleNats]:
    """Every row's sums, in the rows' order; batch size, padding side, order and ranks do not matter.

    `withheld`: a method that is told the task is told of none.

    Raises:
        ValueError: the model's loss on a row is no finite number; names the row.
    """
    model.eval()
    device = next(model.parameters()).device
    found: dict[str, SampleNats] = {}
    batches = ranks.share(by_length(rows, batch_size))
    for members, counts in tqdm(batches, desc=what, unit="batch", disable=None, leave=False):
        batch = collate(members, pad_id, "all", side)
        labels, mask = batch.labels.to(device), batch.attention_mask.to(device)
        # Counted from a row's first token; on the right that is what a model does itself.
        positions = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if side == "left" else {}
        inputs = {"input_ids": batch.input_ids.to(device), "attention_mask": mask, **positions}
        with task_rows(model, () if withheld else batch.tasks):
            logits = target_logits(model, labels, **inputs)  # (N, V)
        nats = token_nats(logits, targets(labels)).double().cpu()  # (N,)
        if not counts:
            continue
        for row, of_row in zip(members, nats.split([len(row.input_ids) - 1 for row in members]), strict=True):
            found[row.id] = _sample(row, of_row)
            if not math.isfinite(found[row.id].all_nats):
                raise ValueError(f"the loss of {row.task} record {row.id} is {found[row.id].all_nats}")
    found = dict(ChainMap(*ranks.gathered(found)))
    return [found[row.id] for row in rows]


def _sample(row: Tokens, nats: Tensor) -> SampleNats:
    """`nats` holds one value for every token but the first."""
    response = nats[row.prompt_length - 1 :] if row.prompt_length else nats
    text = response[:-1] if row.ends else response
    return SampleNats(
        id=row.id,
        task=row.task,
        nats=response.sum().item(),
        tokens=len(response),
        text_nats=text.sum().item(),
        text_tokens=len(text),
        text_bytes=row.response_bytes,
        all_nats=nats.sum().item(),
        all_tokens=len(nats),
    )


def _aggregates(samples: Sequence[SampleNats]) -> dict[str, float | None]:
    """Every definition of one group of samples, each with its sums divided once; None where nothing was scored."""
    nats, tokens = math.fsum(s.nats for s in samples), sum(s.tokens for s in samples)
    text_nats, text_tokens = math.fsum(s.text_nats for s in samples), sum(s.text_tokens for s in samples)
    text_bytes = sum(s.text_bytes for s in samples)
    return {
        "ppl": perplexity(nats, tokens),
        "ppl_without_eos": perplexity(text_nats, text_tokens) if text_tokens else None,
        "bits_per_byte": text_nats / math.log(2) / text_bytes if text_bytes else None,
    }


def scores(samples: Sequence[SampleNats], suffix: str = "") -> list[Score]:
    """The score rows: per task, the mean over tasks, pooled, and the released code's definition, pooled."""
    tasks = sorted({s.task for s in samples})
    by_task = {task: _aggregates([s for s in samples if s.task == task]) for task in tasks}
    rows = [
        Score(task=task, metric=metric + suffix, value=value, n=sum(s.task == task for s in samples))
        for task, values in by_task.items()
        for metric, value in values.items()
    ]
    for metric, value in _aggregates(samples).items():
        rows.append(mean_over_tasks(metric + suffix, [by_task[task][metric] for task in tasks]))
        rows.append(Score(task="pooled", metric=metric + suffix, value=value, n=len(samples)))
    rows.append(Score(task="pooled", metric="ppl_released" + suffix, value=_released(samples), n=len(samples)))
    return rows


def mean_over_tasks(metric: str, values: Iterable[float | None]) -> Score:
    """The plain mean of the tasks' values; None if a task has none."""
    values = list(values)
    known = [value for value in values if value is not None]
    mean = math.fsum(known) / len(known) if len(known) == len(values) else None
    return Score(task="mean", metric=metric, value=mean, n=len(values))


def _released(samples: Sequence[SampleNats]) -> float | None:
    """exp of the mean over batches of two (by id) of the batch's mean loss over prompt and response."""
    ordered = sorted(samples, key=lambda s: s.id)
    batches = [ordered[i : i + RELEASED_BATCH] for i in range(0, len(ordered), RELEASED_BATCH)]
    means = [math.fsum(s.all_nats for s in batch) / sum(s.all_tokens for s in batch) for batch in batches]
    return perplexity(math.fsum(means), len(means))
