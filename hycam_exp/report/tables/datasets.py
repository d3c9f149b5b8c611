"""Table 1: the five data sets as published, what was measured of them on disk, and the records that runs read."""

from collections.abc import Sequence
from dataclasses import replace

from hycam_exp.data.table1 import FILE, Counted, Dataset, Measured
from hycam_exp.report import titles
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.tables.table import Column, Table, TableCell, TableRow

MIX = "paper_mix"
_MEASURE = f"python -m data_prep stats --root DIR --tokenizer DIR --out results/{FILE}"
_COLUMNS = (
    Column(group="", name="Samples", digits=",d"),
    Column(group="", name="Total Tokens", digits=",d"),
    Column(group="", name="Avg. Tokens/Sample", digits=".2f"),
    Column(group="", name="Domain", digits=""),
)


def datasets(runs: Sequence[FinishedRun], published: Sequence[Dataset], measured: Measured | None = None) -> Table:
    """Tokens as measured on disk; samples, too, or as runs on the mix read them."""
    rows = []
    for row in published:
        counted = measured.tasks.get(row.task) if measured else None
        samples, note = _samples(runs, row.task, counted)
        values = (samples, counted.total_tokens if counted else None, counted.average if counted else None)
        theirs = (row.samples, row.total_tokens, row.average)
        cells = [
            TableCell(value=value, published=their, command=_MEASURE if value is None else None)
            for value, their in zip(values, theirs, strict=True)
        ]
        cells = [replace(cells[0], note=note), *cells[1:], TableCell(value=row.domain, published=row.domain)]
        rows.append(TableRow(label=titles.TASKS[row.task], cells=cells))
    return Table(
        name="table1_datasets", title="Data set statistics.", corner="Dataset", columns=_COLUMNS, rows=rows,
        notes=[_tokens(measured), *dict.fromkeys(cell.note for row in rows for cell in row.cells if cell.note)],
        has_published=True, command=_MEASURE,
    )  # fmt: skip


def _tokens(measured: Measured | None) -> str:
    """By what they were counted."""
    if measured is None:
        return "tokens: by the Llama-3 tokenizer; a run's record has none, so that ours have a command of their own"
    return (
        f"tokens: published by the Llama-3 tokenizer, ours by {measured.tokenizer} (tokenizer.json"
        f" {measured.tokenizer_sha256[:8]}) with the {measured.prompt} prompt: BOS, prompt and output, without EOS"
    )


def _samples(runs: Sequence[FinishedRun], task: str, counted: Counted | None) -> tuple[int | None, str | None]:
    """Records of a task that can be used: as measured, or of all runs on the mix; None where these do not agree."""
    counts = {run.usable[task] for run in runs if run.names[2] == MIX and task in run.usable}
    found = ", ".join(f"{count:,}" for count in sorted(counts))
    if counted:
        differ = f"{titles.TASKS[task]}: {counted.samples:,} records were measured, runs read {found}"
        return counted.samples, differ if counts - {counted.samples} else None
    if len(counts) > 1:
        return None, f"{titles.TASKS[task]}: runs read different numbers of records: {found}"
    return (counts.pop() if counts else None), None
