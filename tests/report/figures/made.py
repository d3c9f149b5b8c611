"""Run records that are made up, with all that a figure reads."""

from typing import Any

from hycam_exp.runs import SCHEMA_VERSION, RunRecord, Score

TASKS = ["auto_cot", "dolly"]
LAYERS = ["model.layers.0.self_attn", "model.layers.1.self_attn"]


def record(
    method: str = "hycam", fold: int = 0, seed: int = 0, ppl: float | None = 2.0, data: str = "mini", **fields: Any
) -> RunRecord:
    """A run with two validations, two tasks, and for HyCAM a router over two modules."""
    own = {"num_specialized": 5, "tau": 0.5} if method.startswith("hycam") else {}
    by_task = (
        [] if ppl is None else [Score(task=task, metric="ppl", value=ppl + i, n=1) for i, task in enumerate(TASKS)]
    )
    scores = [
        *by_task,
        Score(task="mean", metric="ppl", value=ppl, n=2),
        Score(task="mean", metric="ppl_before", value=8.0, n=2),
        Score(task="retention", metric="ppl_change", value=0.25 + fold / 64, n=3),
    ]
    routing = [
        {"layer": layer, "task": task, "tokens": 3, "weights": [0.25, 0.75], "entropy": 0.5}
        for layer in LAYERS
        for task in TASKS
    ]
    return RunRecord(
        schema_version=SCHEMA_VERSION, run_id=f"m-{method}-{data}-f{fold}-s{seed}", scores=scores, metrics={}, fit={},
        config={
            "model": {"name": "m"}, "method": {"name": method, **own, **fields}, "recipe": {"clip": 1.0},
            "data": {"name": data, "tasks": TASKS}, "fold": fold, "seed": seed,
        },
        curves={
            "train": [{"step": step, "loss": 4.0 / step + fold} for step in (1, 2, 3, 4)],
            "validation": [{"step": step, "loss": 3.0 / step + fold} for step in (2, 4)],
        },
        routing=routing if own else [], counts={"parameters_trainable": 1000, "records": {}},
        cost={
            "seconds": {"train": 7.5 + fold}, "peak_memory": {"kind": "rss", "bytes": 2**30},
            "hardware": {"device": "d"},
        },
        data={"content": "c", "split": "s"}, code={"digest": "d"}, versions={}, notes=[],
    )  # fmt: skip
