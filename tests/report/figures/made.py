"""The report's records that are made up, with all else that a figure reads."""

import zlib
from dataclasses import replace
from typing import Any

from hycam_exp.evaluation.metrics import Score
from hycam_exp.records.record import Curves, PeakMemory, RoutingRow, RunRecord
from tests.report import toy

TASKS = ["auto_cot", "dolly"]
LAYERS = ["model.layers.0.self_attn", "model.layers.1.self_attn"]


def record(
    method: str = "hycam", fold: int = 0, seed: int = 0, ppl: float | None = 2.0, data: str = "mini", **fields: Any
) -> RunRecord:
    """A run with two validations, two tasks, and for HyCAM a router over two modules."""
    base = toy.record(fold, ppl, method, seed=seed, data={"name": data, "tasks": TASKS})
    own = {"num_specialized": 5, "tau": 0.5} if method.startswith("hycam") else {}
    by_task = (
        [] if ppl is None else [Score(task=task, metric="ppl", value=ppl + i, n=1) for i, task in enumerate(TASKS)]
    )
    scores = [
        *by_task,
        *base.scores,
        Score(task="mean", metric="ppl_before", value=8.0, n=2),
        Score(task="retention", metric="ppl_change", value=0.25 + fold / 64, n=3),
    ]
    routing = [
        RoutingRow(layer=layer, task=task, tokens=3.0, weights=[0.25, 0.75], entropy=0.5)
        for layer in LAYERS
        for task in TASKS
    ]
    return replace(
        base, run_id=f"m-{method}-{data}-f{fold}-s{seed}{f'-{zlib.crc32(repr(fields).encode())}' if fields else ''}",
        scores=scores,
        config={
            **base.config, "method": {"name": method, **own, **fields},
            "recipe": {**base.config["recipe"], "name": "mini"},
        },
        curves=Curves(
            train=[{"step": step, "loss": 4.0 / step + fold} for step in (1, 2, 3, 4)],
            validation=[{"step": step, "loss": 3.0 / step + fold} for step in (2, 4)],
        ),
        routing=routing if own else [],
        cost=replace(
            base.cost, seconds={"train": 7.5 + fold}, peak_memory=PeakMemory(kind="rss", bytes=2**30),
            hardware=replace(base.cost.hardware, device="d"),
        ),
    )  # fmt: skip
