"""A finished cell's record, assembled from its parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

from hycam_exp.config.settings import Run
from hycam_exp.data.folds import Fold
from hycam_exp.data.records import content_hash
from hycam_exp.data.sources import Collection, rejection_counts
from hycam_exp.evaluation import overlap
from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.evaluation.metrics import Score, declared
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.models.files import weights_of
from hycam_exp.records.provenance import provenance, versions
from hycam_exp.records.record import (
    SCHEMA_VERSION,
    Cost,
    Counts,
    Curves,
    DataFacts,
    FitFacts,
    Hardware,
    PeakMemory,
    RoutingRow,
    RunRecord,
    TaskCounts,
)
from hycam_exp.records.version import RESULTS_VERSION
from hycam_exp.runtime.cost import hardware, peak_memory
from hycam_exp.training import routing_tally
from hycam_exp.training.fit import Fit

MOST_ROWS = 500  # a record of every step of the paper's runs would be 1.7 MB


def record_of(
    run: Run, run_id: str, collection: Collection, fold: Fold, fit: Fit, before: Measurement, after: Measurement,
    seconds: dict[str, float], parameters: dict[str, int], notes: list[str],
) -> RunRecord:  # fmt: skip
    """The record of a finished run; nothing in it is estimated, and what was not measured is None."""
    scores = after.scores() + before.scores("_before")
    if after.rows:
        scores.append(_retention_change(scores, len(after.retention)))
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        config=asdict(run),
        weights=weights_of(run.model),
        scores=scores,
        metrics={metric: declared(metric).declaration for metric in sorted({s.metric for s in scores})},
        curves=Curves(train=windows(fit.train_curve), validation=fit.validation_curve),
        fit=FitFacts(
            steps=fit.steps,
            best_step=fit.best_step,
            best_validation_loss=fit.best_validation_loss,
            stopped_early=fit.stopped_early,
            clipped_share=_clipped_share(run, fit),
            step_task_entropy=None if fit.step_task_entropy is None else round(fit.step_task_entropy, 6),
            padding_share=round(fit.padding_share, 6),
        ),
        routing=[RoutingRow(**row) for row in fit.routing],
        counts=_counts(run, collection, fold, fit, parameters),
        cost=Cost(
            seconds={phase: round(value, 3) for phase, value in seconds.items()},
            train_tokens_per_second=round(fit.tokens / seconds["train"], 1),
            peak_memory=PeakMemory(**peak_memory()),
            hardware=Hardware(**hardware(run.trainer.accelerator)),
        ),
        data=DataFacts(files=collection.sources, content=content_hash(collection.records), split=fold.digest),
        results_version=RESULTS_VERSION,
        code=provenance(),
        versions=dict(versions()),
        notes=[
            *notes,
            *overlap.unseen(after.overlaps if after.predictions else []),
            *routing_tally.warnings(fit.routing),
        ],
    )


def windows(curve: Sequence[dict[str, float]], most: int = MOST_ROWS) -> list[dict[str, float]]:
    """A training curve of at most so many rows: a longer one as means over windows of equal numbers of steps (the last
    may have fewer), each at its last step. The CSV in outputs/ has every step.
    """
    width = -(-len(curve) // most) if curve else 1
    if width == 1:
        return list(curve)
    parts = [curve[start : start + width] for start in range(0, len(curve), width)]
    return [
        {name: fmean(row[name] for row in part) for name in part[-1]} | {"step": part[-1]["step"]} for part in parts
    ]


def _clipped_share(run: Run, fit: Fit) -> float | None:
    """The share of optimiser steps whose gradient was clipped; None where the recipe clips none."""
    if run.recipe.clip is None:
        return None
    return sum(row["gradient_norm"] > run.recipe.clip for row in fit.train_curve) / len(fit.train_curve)


def _retention_change(scores: list[Score], n: int) -> Score:
    """Perplexity of general text after adaptation over before, minus one; None where it was not measured."""
    values = {score.metric: score.value for score in scores if score.task == RETENTION}
    old, new = values.get("ppl_before"), values.get("ppl")
    change = None if old is None or new is None else new / old - 1
    return Score(task=RETENTION, metric="ppl_change", value=change, n=n)


def _counts(run: Run, collection: Collection, fold: Fold, fit: Fit, parameters: dict[str, int]) -> Counts:
    """Parameters and tokens; records read, rejected, left out, and used, and responses that were cut, all by task."""
    used = {name: [*{row.id: row for row in rows}.values()] for name, rows in fold.parts.items()}
    kept = {name: Counter(row.task for row in rows) for name, rows in used.items()}
    cut = {name: Counter(row.task for row in rows if not row.ends) for name, rows in used.items()}
    drawn = Counter(row.task for row in fold.train)
    lost = Counter(record.task for record in fold.too_long)
    read = Counter(record.task for record in collection.records)
    refused = Counter(rejection.task for rejection in collection.rejections)
    records = {
        task: TaskCounts(
            rows=read[task] + refused[task],
            rejected=refused[task],
            left_out=read[task] - lost[task] - sum(kept[name][task] for name in kept),
            too_long=lost[task],
            drawn_per_epoch=drawn[task],
            **{name: kept[name][task] for name in kept},
            **{f"{name}_truncated": cut[name][task] for name in cut},
        )
        for task in run.data.tasks
    }
    reasons = rejection_counts(collection.rejections)
    too_long = f"no response token within {run.data.max_length} tokens"
    reasons |= {f"{task}: {too_long}": n for task, n in sorted(lost.items())}
    sizes = {"parameters_trainable", "parameters_total"}
    return Counts(
        parameters_trainable=parameters["parameters_trainable"],
        parameters_total=parameters["parameters_total"],
        tokens_trained=fit.tokens,
        records=records,
        rejected=reasons,
        too_long_ids=[record.id for record in fold.too_long],
        chosen={name: value for name, value in parameters.items() if name not in sizes},
    )
