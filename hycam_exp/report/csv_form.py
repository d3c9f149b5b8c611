"""A table as CSV in long form: a line for each cell, with its numbers in full."""

import csv
import io

from hycam_exp.report.table import Row, Table, Value

FIELDS = (
    "row", "group", "column", "value", "spread", "folds", "num_folds", "mark", "star", "star_uncorrected",
    "published", "published_mark", "published_star", "difference", "difference_share", "is_mixed", "note", "command",
)  # fmt: skip


def csv_form(table: Table) -> str:
    """Every cell; what is absent is empty, and difference is ours - published."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table.rows:
        writer.writerows(_lines(table, row))
    return stream.getvalue()


def _lines(table: Table, row: Row) -> list[list[str]]:
    return [
        [
            row.label, column.group, column.name, _shown(cell.value), _shown(cell.spread), _shown(cell.folds),
            _shown(cell.num_folds), cell.mark or "", _shown(cell.star), _shown(cell.star_uncorrected),
            _shown(cell.published), cell.published_mark or "", _shown(cell.published_star), _shown(cell.difference),
            _shown(cell.difference_share), _shown(cell.is_mixed), cell.note or "", cell.command or "",
        ]
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]  # fmt: skip


def _shown(value: Value | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: ""}[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)
