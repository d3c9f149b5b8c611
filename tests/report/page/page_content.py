"""A page's content that is made up, with markup in every text that comes from outside."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hycam_exp.evaluation.metrics import Declaration, Score
from hycam_exp.records.record import Curves, PeakMemory, RoutingRow, RunRecord
from hycam_exp.report.claims.statements import Finding, Statement
from hycam_exp.report.experiments import Progress
from hycam_exp.report.frame import Problem
from hycam_exp.report.page import PageContent, sample_texts
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.tables.table import Column, Table, TableCell, TableRow, marked
from tests.made import COUNTS, RECORD
from tests.report import toy

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'"
COMMAND = "python -m hycam_exp -m experiment=mini 'method=<b>' fold=0,1"
METHODS = ("lora", "hycam", "multi_lora")
TASKS = ("dolly", "web_gpt")


def record(method: str, fold: int, steps: int = 12) -> RunRecord:
    """A run whose mean PPL is 2, 3 or 4 by method, plus a tenth of the fold."""
    ppl = 2.0 + METHODS.index(method) + fold / 10
    by_task = {"mean": ppl, "dolly": ppl - 0.5, "web_gpt": ppl + 0.5}
    scores = [Score(task=task, metric="ppl", value=value, n=3) for task, value in by_task.items()]
    # The worst method has no BLEU-4: absent, not nought.
    scores += [Score(task="mean", metric="bleu4", value=None if method == "multi_lora" else 1 / ppl, n=3)]
    train = [{"step": s, "loss": 3.0 / s, "learning_rate": 0.01, "gradient_norm": 1.0} for s in range(1, steps + 1)]
    return replace(
        toy.record(fold, ppl, method),
        run_id=f"tiny_llama-{method}-mini-f{fold}-s0-{zlib.crc32(f'{method}{fold}'.encode()):08x}",
        config={
            "model": {"name": "tiny_llama", "source": "embedded"}, "method": {"name": method, "rank": 8},
            "data": {"name": "mini", "tasks": list(TASKS), "root": HOSTILE}, "recipe": {"name": "r", "clip": 1.0},
            "trainer": {"name": "cpu"}, "fold": fold, "seed": 0,
        },
        scores=scores, metrics={"ppl": Declaration(better="lower", aggregation=HOSTILE, version="1")},
        curves=Curves(train=train, validation=[{"step": steps, "loss": 1.25}]), fit=replace(RECORD.fit, steps=steps),
        routing=[RoutingRow(layer=HOSTILE, task="dolly", tokens=9.0, weights=[0.25, 0.75], entropy=0.5)],
        counts=replace(
            RECORD.counts, parameters_trainable=1234, parameters_total=99999,
            records={"dolly": replace(COUNTS, rows=3)},
        ),
        cost=replace(RECORD.cost, seconds={"train": 61.5}, peak_memory=PeakMemory(kind="rss", bytes=2**30)),
        versions={"torch": "0"}, notes=[HOSTILE] if method == "hycam" else [],
    )  # fmt: skip


def samples(run_id: str, count: int = 3) -> list[dict[str, object]]:
    """Samples with texts, and one without; the first prediction of a task is markup."""
    rows: list[dict[str, object]] = []
    for task in TASKS:
        for number in range(count):
            prediction = HOSTILE if number == 0 else f"the {task} prediction {number} of {run_id}"
            rows.append({"task": task, "id": f"{task}{number}", "prediction": prediction, "reference": f"the {number}"})
        rows.append({"task": task, "id": f"{task}x", "prediction": None, "reference": None})
    return [row | {"nats": 2.0, "tokens": 4, "rouge_l": 0.5, "capped": False} for row in rows]


def table() -> Table:
    """Two rows and two groups of columns; one row was never run, one has three folds of five."""
    columns = [
        Column(group=group, name="PPL", better="lower") for group in ("Llama <i>2</i>", "a long name of a backbone")
    ]
    missing = TableCell(folds=0, num_folds=5, published=3.5, command=COMMAND)
    part = TableCell(value=1.9, spread=0.1, folds=3, num_folds=5, note=HOSTILE, command=COMMAND, published=3.0)
    whole = TableCell(value=1.5, spread=0.2, folds=5, num_folds=5, star=True, published=2.0)
    best = TableCell(value=1.25, spread=0.2, folds=5, num_folds=5, published=2.5)
    rows = [
        TableRow(label="LoRA", cells=[missing, whole]),
        TableRow(label=f"HyCAM {HOSTILE}", cells=[part, best]),
        TableRow(label="Full Finetune", cells=[whole, part], rule=True),
    ]
    return marked(
        Table(name="t", title=f"A title {HOSTILE}", corner="Method", columns=columns, rows=rows, has_published=True)
    )


def png() -> bytes:
    """A picture of one grey point."""
    parts = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\x80")), (b"IEND", b"")
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def content(results: Path, folds: int = 2) -> PageContent:
    """All that a page may have; the samples and the figure are written to the folder."""
    records = [record(method, fold) for method in METHODS for fold in range(folds)]
    source = RecordSource.own(results)
    for made in records:
        path = source.samples(made.run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(samples(made.run_id)), path)
    figure = results / "figures" / "tiny_llama-mini" / "pareto.png"
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.write_bytes(png())
    figure.with_suffix(".csv").write_text("method,ppl\n<b>,1.5\n")
    return PageContent(
        source=source,
        rows=toy.rows_of(records),
        samples=sample_texts.read(source, [made.run_id for made in records]),
        tables=[table()],
        figures=[figure],
        missing_figures=[("tau", COMMAND)],
        grids=[Progress(experiment="mini", about=HOSTILE, done=6, total=25)],
        problems=[Problem("runs/x.json", HOSTILE)],
        claims=[
            Statement(
                id="x",
                statement=HOSTILE,
                where="Abstract",
                definition="of means",
                published=Finding(verdict="holds", text="+3.65%"),
                ours=[Finding(verdict="does not hold", text="-2%", setting="the mini set")],
            )
        ],
    )
