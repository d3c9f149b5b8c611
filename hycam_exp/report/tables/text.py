"""A table as Markdown and as CSV, and all its files by name, written where their content changed."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hycam_exp.report.tables.latex import latex
from hycam_exp.report.tables.table import (
    BEST,
    PLUS_MINUS,
    SECOND,
    Column,
    Table,
    TableCell,
    TableRow,
    Value,
    compared,
    folds,
    legend,
    published,
    signs,
)
from hycam_exp.runtime.files import write_atomically

_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")
FIELDS = (
    "row", "group", "column", "value", "spread", "folds", "num_folds", "mark", "star", "star_uncorrected", "worse",
    "worse_uncorrected", "published", "published_mark", "published_star", "difference", "difference_share", "is_mixed",
    "note", "command", "compared_with", "compared_difference", "compared_low", "compared_high", "p_paired",
    "p_corrected_resampled", "p_corrected_holm", "d_z", "d_z_low", "d_z_high", "bootstrap_low", "bootstrap_high",
    "bootstrap_groups",
)  # fmt: skip


def forms(table: Table) -> list[Table]:
    """Ours; where the paper has numbers, also published, and ours beside published."""
    return [table, published(table), compared(table)] if table.has_published else [table]


def contents(table: Table) -> dict[str, str]:
    """One Markdown page and one CSV, and a LaTeX file for each form, by name."""
    of_table = forms(table)
    named = {f"{form.name}.tex": latex(form) for form in of_table}
    page = "\n".join(markdown(form) for form in of_table)
    return {f"{table.name}.md": page, f"{table.name}.csv": long_csv(table), **named}


def write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files whose content changed; they are returned."""
    changed = []
    for name, text in sorted(files.items()):
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text.encode())
            changed.append(path)
    return changed


def markdown(table: Table) -> str:
    """Title, table, what its marks mean, and its notes."""
    header = [table.corner, *(f"{column.group} {column.heading}".strip() for column in table.columns)]
    lines = [_line(map(escape, header)), _line(["---", *("---:" for _ in table.columns)])]
    section = ""
    for row in table.rows:
        if row.section != section:
            section = row.section
            lines.append(_line([f"**{escape(section)}**", *("" for _ in table.columns)]))
        shown = [_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
        lines.append(_line([escape(row.label), *shown]))
    parts = [f"## {escape(table.title)}", "\n".join(lines)]
    if sentences := legend(table):
        parts.append(escape(" ".join(sentences)))
    notes = [escape(note) for note in table.notes]
    if table.command and not table.is_whole:
        notes.append(f"what is missing: `{table.command}`")
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _cell(cell: TableCell, column: Column) -> str:
    """A value with spread, folds and marks."""
    text = escape(column.shown(cell.value))
    if cell.value is not None:
        text = {BEST: f"**{text}**", SECOND: f"<u>{text}</u>", None: text}[cell.mark]
    spread = "" if cell.spread is None else f" {PLUS_MINUS} {column.spread_shown(cell.spread)}"
    return f"{text}{escape(signs(cell))}{spread} {folds(cell)}".strip()


def escape(text: str) -> str:
    """The text with no sign of Markdown's left."""
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def long_csv(table: Table) -> str:
    """A line for each cell, with its numbers in full; what is absent is empty, and difference is ours - published.

    A cell that is compared with the best other PEFT row of its column has that difference with its 95% interval, its p
    and the standardised difference d_z, over folds, and the 95% interval of the bootstrap over samples by group.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            writer.writerow(map(_written, [*_values(row, column, cell), *_compared(cell)]))
    return stream.getvalue()


def _values(row: TableRow, column: Column, cell: TableCell) -> Sequence[Value | bool | None]:
    return [
        row.label, column.group, column.name, cell.value, cell.spread, cell.folds, cell.num_folds, cell.mark, cell.star,
        cell.star_uncorrected, cell.worse, cell.worse_uncorrected, cell.published, cell.published_mark,
        cell.published_star, cell.difference, cell.difference_share, cell.is_mixed, cell.note, cell.command,
    ]  # fmt: skip


def _compared(cell: TableCell) -> Sequence[Value | None]:
    """What the cell is compared with, and how."""
    c, resampled = cell.comparison, cell.resampled
    if c is None:
        return [None] * len(FIELDS[FIELDS.index("compared_with") :])
    return [
        c.baseline, c.difference, *(c.interval or (None, None)), c.p, c.p_corrected_resampled, c.p_corrected_holm,
        c.effect, *(c.effect_interval or (None, None)), *(resampled.interval if resampled else (None, None)),
        resampled.groups if resampled else None,
    ]  # fmt: skip


def _written(value: Value | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.12g}" if isinstance(value, float) else value if isinstance(value, str) else str(value)
