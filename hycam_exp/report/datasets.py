"""Table 1: the five data sets as published, and the records that runs on the paper's mix read of them."""

from collections.abc import Sequence

from hycam_exp.data.published import Dataset
from hycam_exp.report import titles
from hycam_exp.report.summary import Summary
from hycam_exp.report.table import Cell, Column, Row, Table

MIX = "paper_mix"
_TOKENS = "python -m data_prep stats --root DIR --tokenizer DIR"
_COLUMNS = (
    Column(group="", name="Samples", digits=",d"),
    Column(group="", name="Total Tokens", digits=",d"),
    Column(group="", name="Avg. Tokens/Sample", digits=".2f"),
    Column(group="", name="Domain", digits=""),
)


def datasets(summaries: Sequence[Summary], published: Sequence[Dataset]) -> Table:
    """Samples as runs read them; tokens are no part of a run's record, and have their own command."""
    rows = []
    for row in published:
        samples, note = _samples(summaries, row.task)
        cells = [
            Cell(value=samples, published=row.samples, note=note, command=_TOKENS if samples is None else None),
            Cell(published=row.total_tokens, command=_TOKENS),
            Cell(published=row.average, command=_TOKENS),
            Cell(value=row.domain, published=row.domain),
        ]
        rows.append(Row(label=titles.TASKS[row.task], cells=cells))
    notes = ["tokens: by the Llama-3 tokenizer; a run's record has none, so that ours have a command of their own"]
    return Table(
        name="table1_datasets", title="Data set statistics.", corner="Dataset", columns=_COLUMNS, rows=rows,
        notes=[*notes, *dict.fromkeys(cell.note for row in rows for cell in row.cells if cell.note)],
        has_published=True, command=_TOKENS,
    )  # fmt: skip


def _samples(summaries: Sequence[Summary], task: str) -> tuple[int | None, str | None]:
    """Records of a task that can be used, of all runs on the mix; None where there is none or they do not agree."""
    counts = {
        record.counts["records"][task]["rows"] - record.counts["records"][task]["rejected"]
        for s in summaries
        for record in s.records
        if s.data == MIX and task in record.counts["records"]
    }
    if len(counts) > 1:
        found = ", ".join(f"{count:,}" for count in sorted(counts))
        return None, f"{titles.TASKS[task]}: runs read different numbers of records: {found}"
    return (counts.pop() if counts else None), None
