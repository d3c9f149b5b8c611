"""Records that are made up, for the report's tests."""

from hycam_exp.report.tables.table import Cell, Column, Row, Table, marked
from hycam_exp.runs import SCHEMA_VERSION, RunRecord, Score

TASKS = ("auto_cot", "icliniq", "dolly", "code_alpaca", "web_gpt")


def record(
    fold: int, ppl: float | None, method: str = "lora", clip: float | None = 1.0, version: int = 1, split: str = "s",
    **places: object,
) -> RunRecord:  # fmt: skip
    """A record whose perplexity alone was measured."""
    config = {
        "model": {"name": "m", "path": "x"}, "method": {"name": method, "routing": {"hard": False}},
        "data": {"name": "mini", "root": None}, "recipe": {"clip": clip, "learning_rates": {"lora": 1.0}},
        "trainer": {"name": "cpu"}, "fold": fold, "seed": 0, **places,
    }  # fmt: skip
    return RunRecord(
        schema_version=SCHEMA_VERSION, run_id=f"m-{method}-f{fold}-{clip}", config=config,
        scores=[Score(task="mean", metric="ppl", value=ppl, n=2)], metrics={}, curves={}, fit={}, routing=[],
        counts={"parameters_trainable": 7, "records": {}}, cost={"seconds": {"train": 2.0, "load": 1.0}},
        data={"content": "c", "split": f"{split}{fold}"}, code={}, versions={}, notes=[], results_version=version,
    )  # fmt: skip


def toy_table() -> Table:
    """Three rows of two scores: one whole, one that lacks folds and is under its published value, one never run."""
    columns = [Column(group="A_1", name="PPL", better="lower"), Column(group="A_1", name="BLEU-4", better="higher")]
    whole = {"folds": 5, "num_folds": 5}
    rows = [
        Row(label="LoRA & co", cells=[Cell(value=2.0, spread=0.25, published=1.6, published_mark="best", **whole),
                                      Cell(value=0.1, spread=0.01, **whole)]),
        Row(label="HyCAM", rule=True, cells=[Cell(value=1.5, spread=0.125, star=True, published=2.0, **whole),
                                             Cell(value=0.2, star_uncorrected=True, is_mixed=True, **whole)]),
        Row(label="100%_new", cells=[Cell(value=1.0, folds=3, num_folds=5, published=1.0, command="run it"),
                                     Cell(folds=0, num_folds=5, command="run it")]),
    ]  # fmt: skip
    return marked(Table(
        name="toy", title="A toy.", corner="Method", columns=columns, rows=rows, notes=["x < y | z"],
        group_heading="Backbone", has_published=True, command="make toy",
    ))  # fmt: skip
