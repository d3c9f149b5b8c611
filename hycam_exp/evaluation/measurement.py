"""A model measured on a fold's test split and on general text, before and after adaptation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation import metrics, overlap, perplexity
from hycam_exp.evaluation.generation import Decoder, Prediction, nothing
from hycam_exp.evaluation.metrics import WITHHELD, Score
from hycam_exp.evaluation.overlap import Overlap
from hycam_exp.evaluation.perplexity import SampleNats
from hycam_exp.evaluation.retention import TASK as RETENTION


@dataclass(kw_only=True)
class Measurement:
    """One state of a model: `nats` and `predictions` are in the order of `rows`."""

    rows: list[Tokens]
    nats: list[SampleNats]
    retention: list[SampleNats]
    withheld: list[SampleNats] = field(default_factory=list)
    """As `nats`, of a method that is told the task, with the task withheld."""
    predictions: list[Prediction] = field(default_factory=list)
    withheld_predictions: list[Prediction] = field(default_factory=list)
    """As `predictions`, where `withheld` was measured."""
    differing: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By task: how many of the compared predictions differ when decoded one by one, and how many were compared."""

    @cached_property
    def overlaps(self) -> list[Overlap]:
        """The predictions' BLEU counts and ROUGE-L."""
        return self._overlaps(self.predictions)

    def _overlaps(self, predictions: Sequence[Prediction]) -> list[Overlap]:
        return [
            overlap.overlap(row.id, row.task, prediction.text, row.reference)
            for row, prediction in zip(self.rows, predictions, strict=True)
        ]

    def scores(self, suffix: str = "") -> list[Score]:
        """Every score row of this state; none where nothing was measured."""
        if not self.rows:
            return []
        rows = perplexity.scores(self.nats, suffix)
        if self.withheld:
            rows += perplexity.scores(self.withheld, f"{WITHHELD}{suffix}")
        if self.retention:
            value = metrics.perplexity(sum(s.nats for s in self.retention), sum(s.tokens for s in self.retention))
            rows.append(Score(task=RETENTION, metric=f"ppl{suffix}", value=value, n=len(self.retention)))
        if self.predictions:
            rows += overlap.scores(self.overlaps, suffix) + self._caps(suffix)
        if self.withheld_predictions:
            rows += overlap.scores(self._overlaps(self.withheld_predictions), f"{WITHHELD}{suffix}")
        rows += [
            Score(task=task, metric=f"batch_difference_share{suffix}", value=count / n, n=n)
            for task, (count, n) in self.differing.items()
        ]
        return rows

    def _caps(self, suffix: str) -> list[Score]:
        """The share of predictions that reached the most new tokens, per task and pooled."""
        groups = {task: [p for p in self.predictions if p.task == task] for task in sorted({r.task for r in self.rows})}
        groups["pooled"] = self.predictions
        return [
            Score(task=task, metric=f"cap_share{suffix}", value=sum(p.capped for p in group) / len(group), n=len(group))
            for task, group in groups.items()
        ]


def score(
    model: nn.Module, rows: Sequence[Tokens], windows: Sequence[Tokens], batch_size: int, pad_id: int, when: str,
    withhold: bool = False,
) -> Measurement:  # fmt: skip
    """Perplexity of the test rows, where asked for once more with their tasks withheld, and of the general text."""
    rows = list(rows)
    return Measurement(
        rows=rows,
        nats=perplexity.score(model, rows, batch_size, pad_id, what=f"perplexity {when}"),
        retention=perplexity.score(model, windows, batch_size, pad_id, what=f"retention {when}"),
        withheld=perplexity.score(model, rows, batch_size, pad_id, what=f"tasks withheld {when}", withheld=True)
        if withhold
        else [],
    )


def generate(
    measured: Measurement, decoder: Decoder, batch_size: int, path: Path, compare: int, when: str,
    keep: Callable[[], None] = nothing,
) -> None:  # fmt: skip
    """Add the decoded responses, those with the tasks withheld where perplexity was measured so, too, and how many of
    `compare` a task differ when they are decoded alone.

    `keep` is called after every batch that is on disk.
    """
    measured.predictions = decoder.decode_all(measured.rows, batch_size, path, f"decoding {when}", keep)
    if measured.withheld:
        untold, beside = replace(decoder, withheld=True), path.with_suffix(".withheld.jsonl")
        what = f"decoding {when}, tasks withheld"
        measured.withheld_predictions = untold.decode_all(measured.rows, batch_size, beside, what, keep)
    batched = {p.id: p.text for p in measured.predictions}
    for task in sorted({row.task for row in measured.rows}) if compare else ():
        chosen = sorted((row for row in measured.rows if row.task == task), key=lambda row: row.id)[:compare]
        alone = decoder.decode_all(chosen, 1, path.with_suffix(".single.jsonl"), f"comparing {task} {when}", keep)
        measured.differing[task] = sum(p.text != batched[p.id] for p in alone), len(alone)
