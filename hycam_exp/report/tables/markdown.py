"""A table as Markdown, as GitHub shows it."""

import re
from collections.abc import Iterable, Sequence

from hycam_exp.report.tables.legend import folds, legend, stars
from hycam_exp.report.tables.table import BEST, PLUS_MINUS, SECOND, Cell, Column, Table

_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")


def page(tables: Sequence[Table]) -> str:
    """The forms of one table below each other."""
    return "\n".join(markdown(table) for table in tables)


def markdown(table: Table) -> str:
    """Title, table, what its marks mean, and its notes."""
    header = [table.corner, *(f"{column.group} {column.heading}".strip() for column in table.columns)]
    lines = [_line(map(escape, header)), _line(["---", *("---:" for _ in table.columns)])]
    section = ""
    for row in table.rows:
        if row.section != section:
            section = row.section
            lines.append(_line([f"**{escape(section)}**", *("" for _ in table.columns)]))
        shown = [cell_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
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


def cell_text(cell: Cell, column: Column) -> str:
    """A value with spread, folds and marks."""
    text = escape(column.shown(cell.value))
    if cell.value is not None:
        text = {BEST: f"**{text}**", SECOND: f"<u>{text}</u>", None: text}[cell.mark]
    spread = "" if cell.spread is None else f" {PLUS_MINUS} {column.spread_shown(cell.spread)}"
    return f"{text}{escape(stars(cell))}{spread} {folds(cell)}".strip()


def escape(text: str) -> str:
    """The text with no sign of Markdown's left."""
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
