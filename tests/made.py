"""A run record that is made up, whole, for any test that needs one."""

from dataclasses import replace
from typing import Any

from hycam_exp.evaluation.metrics import Score, declared
from hycam_exp.records.record import (
    SCHEMA_VERSION,
    Code,
    Cost,
    Counts,
    Curves,
    DataFacts,
    FitFacts,
    Hardware,
    PeakMemory,
    RunRecord,
    TaskCounts,
)
from hycam_exp.records.version import RESULTS_VERSION

COUNTS = TaskCounts(
    rows=20, rejected=0, left_out=0, too_long=0, train=14, validation=4, test=2, train_truncated=0,
    validation_truncated=0, test_truncated=0, drawn_per_epoch=14,
)  # fmt: skip
RECORD = RunRecord(
    schema_version=SCHEMA_VERSION,
    results_version=RESULTS_VERSION,
    run_id="m-lora-mix-f0-s1-0123abcd",
    config={
        "model": {"name": "m"}, "method": {"name": "lora"}, "data": {"name": "mix", "tasks": ["dolly", "web_gpt"]},
        "recipe": {"name": "r"}, "trainer": {"name": "cpu"}, "fold": 0, "seed": 1,
    },
    scores=[Score(task="dolly", metric="ppl", value=2.5, n=3), Score(task="mean", metric="ppl", value=None, n=1)],
    metrics={"ppl": declared("ppl").declaration},
    curves=Curves(train=[{"step": 1, "loss": 0.1 + 0.2}], validation=[]),
    fit=FitFacts(
        steps=1, best_step=1, best_validation_loss=1.25, stopped_early=False, clipped_share=None,
        step_task_entropy=None, padding_share=0.0,
    ),
    routing=[],
    counts=Counts(
        parameters_trainable=7, parameters_total=10**15, tokens_trained=100, records={"dolly": COUNTS}, rejected={},
        too_long_ids=[], chosen={},
    ),
    cost=Cost(
        seconds={"train": 1e-300}, train_tokens_per_second=1.0, peak_memory=PeakMemory(kind="rss", bytes=1),
        hardware=Hardware(device="a processor", cpus=2, threads=1, system="Linux"),
    ),
    data=DataFacts(files=[], content="c", split="s"),
    code=Code(commit=None, dirty=None),
    versions={"python": "3"},
    notes=["a note\nof two lines"],
    weights=None,
)  # fmt: skip


def made(**changes: Any) -> RunRecord:
    """The record with other values in some of its fields."""
    return replace(RECORD, **changes)
