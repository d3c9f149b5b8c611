"""A table as the page lays it out: cells with their text, marks and sort value, and what is shown on demand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hycam_exp.report import titles
from hycam_exp.report.tables import table as values
from hycam_exp.report.tables.table import PLUS_MINUS, Column, Table, TableCell, TableRow
from hycam_exp.report.tables.text import forms

_LEADING_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What is shown of a cell on demand."""

    id: str
    heading: str
    lines: tuple[str, ...]
    command: str | None


@dataclass(frozen=True, kw_only=True)
class CellView:
    """A cell's text in parts."""

    text: str
    marks: str
    spread: str
    folds: str
    emphasis: str
    """best, second, or empty."""
    number: float | None
    """What it is sorted by; None where its text is, or where there is nothing."""
    is_text: bool
    is_absent: bool
    group: str
    detail: Detail | None


@dataclass(frozen=True, kw_only=True)
class RowView:
    """A row, with the label that it is found by."""

    label: str
    rule: bool
    cells: list[CellView]


@dataclass(frozen=True, kw_only=True)
class TableView:
    """One form of a table: ours, published, or compared."""

    table: Table
    sections: list[tuple[str, list[RowView]]]
    legend: list[str]

    @property
    def has_groups(self) -> bool:
        """A second row of headings is there."""
        return any(column.group for column in self.table.columns)


@dataclass
class TableViews:
    """The forms of a table, ours first, and the details that their cells share."""

    table: Table
    details: dict[tuple[object, ...], Detail] = field(default_factory=dict)
    views: list[TableView] = field(init=False)

    def __post_init__(self) -> None:
        self.views = [self._view(form) for form in forms(self.table)]

    @property
    def has_values(self) -> bool:
        """Any cell of ours has a number."""
        return any(cell.number is not None for _, rows in self.views[0].sections for r in rows for cell in r.cells)

    def _view(self, table: Table) -> TableView:
        sections: dict[str, list[RowView]] = {}
        for row in table.rows:
            cells = [self._cell(row, cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
            rule = row.rule and row.section in sections
            sections.setdefault(row.section, []).append(RowView(label=row.label, rule=rule, cells=cells))
        return TableView(table=table, sections=list(sections.items()), legend=values.legend(table))

    def _cell(self, row: TableRow, cell: TableCell, column: Column) -> CellView:
        return CellView(
            text=column.shown(cell.value),
            marks=values.signs(cell),
            spread="" if cell.spread is None else f"{PLUS_MINUS}\N{NO-BREAK SPACE}{column.spread_shown(cell.spread)}",
            folds=values.folds(cell),
            emphasis=cell.mark or "",
            number=_number(cell),
            is_text=isinstance(cell.value, str),
            is_absent=cell.value is None,
            group=row.section or column.group,
            detail=self._detail(row, cell, column),
        )

    def _detail(self, row: TableRow, cell: TableCell, column: Column) -> Detail | None:
        """The same detail for all cells of which there is the same to say; None for nothing."""
        told = _lines(cell)
        if not told and not cell.command:
            return None
        heading = ", ".join(filter(None, (row.label, row.section or column.group)))
        key = (heading, tuple(told), cell.command)
        if key not in self.details:
            number = f"{self.table.name}-detail-{len(self.details) + 1}"
            self.details[key] = Detail(id=number, heading=heading, lines=tuple(told), command=cell.command)
        return self.details[key]


def _lines(cell: TableCell) -> Sequence[str]:
    """What there is to say of a cell beyond what it shows, in sentences."""
    folds = None if not cell.num_folds or cell.is_complete else f"{cell.folds or 0} of {cell.num_folds} folds."
    found = (
        (folds is not None, folds or ""),
        *(
            (holds and bool(cell.num_folds), f"{what} than the best other PEFT row, {how}.")
            for what, sign, bracketed in (
                ("Better", cell.star, cell.star_uncorrected),
                ("Worse", cell.worse, cell.worse_uncorrected),
            )
            for holds, how in (
                (sign, "significant by the corrected resampled t-test after Holm's correction"),
                (bracketed and not sign, "significant only by the paired t-test without a correction"),
            )
        ),
        *((True, sentence) for sentence in _compared(cell)),
        (cell.is_mixed, "Of records that differ in more than their fold."),
        (cell.note is not None, f"Note: {cell.note}"),
    )
    return [sentence for holds, sentence in found if holds]


def _compared(cell: TableCell) -> Sequence[str]:
    """How the cell differs from the best other PEFT row, over folds and over test samples."""
    c, resampled = cell.comparison, cell.resampled
    if c is None or c.difference is None:
        return []
    difference, spread = titles.number(c.difference, "+.4f"), titles.interval(c.interval, "+.4f")
    over_folds = f"HyCAM minus {titles.label(str(c.baseline))}, the best other PEFT row: {difference}, 95% {spread}."
    d_z = f"d_z {titles.number(c.effect, '+.2f')}, 95% {titles.interval(c.effect_interval, '+.2f')}."
    tests = ((c.p, "paired"), (c.p_corrected_resampled, "corrected resampled"), (c.p_corrected_holm, "with Holm"))
    shown = ", ".join(f"{titles.p_value(p)} ({name})" for p, name in tests if p is not None)
    over_samples = "No bootstrap: no samples, or not of all runs."
    if resampled:
        bounds = titles.interval(resampled.interval, "+.4f")
        over_samples = f"Bootstrap over {resampled.groups:,} groups of test samples: 95% {bounds}."
    return [over_folds, *([d_z] if c.effect is not None else []), *([f"p: {shown}."] if shown else []), over_samples]


def _number(cell: TableCell) -> float | None:
    """The cell's number; of a text the number at its beginning, as in `+0.12 (+3.4%)`."""
    if not isinstance(cell.value, str):
        return cell.value
    leading = _LEADING_NUMBER.match(cell.value)
    return float(leading.group().replace(",", "")) if leading else None
