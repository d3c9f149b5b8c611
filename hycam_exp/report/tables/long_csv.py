"""A table as CSV in long form: a line for each cell, with its numbers in full."""

import csv
import io

from hycam_exp.report.tables.table import Cell, Row, Table, Value

FIELDS = (
    "row", "group", "column", "value", "spread", "folds", "num_folds", "mark", "star", "star_uncorrected",
    "published", "published_mark", "published_star", "difference", "difference_share", "is_mixed", "note", "command",
    "compared_with", "compared_difference", "p_paired", "p_corrected_resampled", "p_corrected_holm",
    "effect", "effect_low", "effect_high", "bootstrap_low", "bootstrap_high", "bootstrap_groups",
)  # fmt: skip


def csv_form(table: Table) -> str:
    """Every cell; what is absent is empty, and difference is ours - published.

    A cell that is compared with the best PEFT baseline has that difference, its p and its effect with a 95% interval,
    over folds, and the 95% interval of the bootstrap over samples by group.
    """
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
            *_compared(cell),
        ]
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]  # fmt: skip


def _compared(cell: Cell) -> list[str]:
    """What the cell is compared with, and how."""
    c, resampled = cell.comparison, cell.resampled
    if c is None:
        return [""] * len(FIELDS[FIELDS.index("compared_with") :])
    low, high = resampled.interval if resampled else (None, None)
    numbers = [
        c.difference, c.p, c.p_corrected_resampled, c.p_corrected_holm, c.effect, *(c.effect_interval or (None, None)),
        low, high, resampled.groups if resampled else None,
    ]  # fmt: skip
    return [c.baseline or "", *map(_shown, numbers)]


def _shown(value: Value | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: ""}[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)
