"""Records that are made up, and what the report makes of records, for its tests."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache

from hycam_exp.config import grid
from hycam_exp.config.settings import Run
from hycam_exp.evaluation.metrics import Score, declared
from hycam_exp.records.record import Curves, DataFacts, RunRecord
from hycam_exp.report.cache import Cache
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.frame import FinishedRun, Frame, runs_of
from hycam_exp.report.select import SelectedRow, Selection, select
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.tables.table import Column, Table, TableCell, TableRow, marked
from tests.made import COUNTS, RECORD, made

TASKS = ("auto_cot", "icliniq", "dolly", "code_alpaca", "web_gpt")


@cache
def known_experiments() -> Experiments:
    """Experiment files, composed once for all tests."""
    return Experiments(Cache(None))


def frame_of(records: Iterable[RunRecord], source: RecordSource | None = None) -> Frame:
    """The frame of records as if they had been read."""
    runs = tuple(runs_of(records, known_experiments()))
    return Frame(runs, source=source) if source else Frame(runs)


def selection_of(records: Iterable[RunRecord], source: RecordSource | None = None) -> Selection:
    """All groups of records."""
    return select(frame_of(records, source), known_experiments())


def rows_of(records: Iterable[RunRecord]) -> list[SelectedRow]:
    """The rows of all groups."""
    return selection_of(records).rows


def run_of(record: RunRecord) -> FinishedRun:
    """A record as the report knows it."""
    (run,) = frame_of([record]).runs
    return run


def record(
    fold: int, ppl: float | None, method: str = "lora", clip: float | None = 1.0, version: int = 1, split: str = "s",
    **places: object,
) -> RunRecord:  # fmt: skip
    """A record whose perplexity alone was measured."""
    config = {
        "model": {"name": "m", "path": "x"}, "method": {"name": method, "routing": {"hard": False}},
        "data": {"name": "mini", "root": None, "tasks": ["dolly"]},
        "recipe": {"name": "r", "clip": clip, "learning_rates": {"lora": 1.0}},
        "trainer": {"name": "cpu"}, "fold": fold, "seed": 0, **places,
    }  # fmt: skip
    return made(
        run_id=f"m-{method}-f{fold}-s{config['seed']}-{clip}", config=config, results_version=version,
        scores=[Score(task="mean", metric="ppl", value=ppl, n=2)], metrics={}, curves=Curves(train=[], validation=[]),
        counts=replace(RECORD.counts, records={}), cost=replace(RECORD.cost, seconds={"train": 2.0, "load": 1.0}),
        data=DataFacts(files=[], content="c", split=f"{split}{fold}"), notes=[],
    )  # fmt: skip


@cache
def _runs_of(experiment: str) -> list[Run]:
    return list(grid.Composer()([[*cell, f"experiment={experiment}"] for cell in grid.sweep(experiment)]))


def records_of_grid(experiment: str, ppl: Callable[[str, int, int], float], version: int) -> list[RunRecord]:
    """A record of every cell of an experiment with the same perplexity on all tasks, by method, fold and seed; a
    BLEU-4 and a ROUGE-L of half of all test samples are its reciprocal."""
    found = []
    for run in _runs_of(experiment):
        value = ppl(run.method.name, run.fold, run.seed)
        scores = [
            Score(
                task=task, metric=metric, value=value if metric == "ppl" else 1 / value, n=6 if metric == "ppl" else 3
            )
            for task in ("mean", *run.data.tasks)
            for metric in ("ppl", "bleu4", "rouge_l")
        ]
        of = record(run.fold, None, run.method.name, version=version)
        name = f"{run.model.name}-{run.method.name}-{run.data.name}-f{run.fold}-s{run.seed}-00000000"
        metrics = {metric: declared(metric).declaration for metric in ("ppl", "bleu4", "rouge_l")}
        config = json.loads(json.dumps(asdict(run)))
        counts = replace(of.counts, records=dict.fromkeys(run.data.tasks, COUNTS))
        found.append(replace(of, run_id=name, config=config, scores=scores, metrics=metrics, counts=counts))
    return found


def toy_table() -> Table:
    """Three rows of two scores: one whole, one that lacks folds and is under its published value, one never run."""
    columns = [Column(group="A_1", name="PPL", better="lower"), Column(group="A_1", name="BLEU-4", better="higher")]
    whole = {"folds": 5, "num_folds": 5}
    rows = [
        TableRow(label="LoRA & co", cells=[TableCell(value=2.0, spread=0.25, published=1.6, published_mark="best",
                                                     **whole),
                                           TableCell(value=0.1, spread=0.01, worse=True, **whole)]),
        TableRow(label="HyCAM", rule=True, cells=[TableCell(value=1.5, spread=0.125, star=True, published=2.0, **whole),
                                                  TableCell(value=0.2, star_uncorrected=True, is_mixed=True, **whole)]),
        TableRow(label="100%_new", cells=[TableCell(value=1.0, folds=3, num_folds=5, published=1.0, command="run it"),
                                          TableCell(folds=0, num_folds=5, command="run it")]),
    ]  # fmt: skip
    return marked(Table(
        name="toy", title="A toy.", corner="Method", columns=columns, rows=rows, notes=["x < y | z"],
        facts=["So it came about."], group_heading="Backbone", has_published=True, command="make toy",
    ))  # fmt: skip
