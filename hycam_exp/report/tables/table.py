"""A table of a report: rows, columns and cells that carry all that a renderer shows, computed once.

Table(name="t", title="T", corner="Method", columns=[Column(group="", name="PPL", better="lower")], rows=[...])
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.report.titles import number

if TYPE_CHECKING:
    from hycam_exp.report.statistics.bootstrap import Resampled
    from hycam_exp.report.statistics.significance import Comparison

BEST, SECOND = "best", "second"
ARROWS = {"lower": "\N{DOWNWARDS ARROW}", "higher": "\N{UPWARDS ARROW}", "none": ""}
PLUS_MINUS, DASH = "\N{PLUS-MINUS SIGN}", "\N{EN DASH}"

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its group (a backbone, a task; empty where there is none) and its own heading."""

    group: str
    name: str
    better: str = "none"
    """lower, higher, or none where neither is: decides arrow and marks."""
    digits: str = ".3f"
    """The format of a value; a text is shown as it is."""
    is_published: bool = False
    """Its values, marks and stars are the paper's."""

    @property
    def heading(self) -> str:
        """The name with its arrow."""
        return f"{self.name} {ARROWS[self.better]}".strip()

    def shown(self, value: Value | None) -> str:
        """A value as printed; a dash for None."""
        if value is None:
            return DASH
        return value if isinstance(value, str) else number(value, self.digits)

    def spread_shown(self, spread: float) -> str:
        """A standard deviation as printed: without a sign."""
        return format(spread, self.digits.removeprefix("+"))


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """A value with all that is known of it; what is absent is None."""

    value: Value | None = None
    spread: float | None = None
    """The sample standard deviation over folds."""
    folds: int | None = None
    """The number of folds that the value is a mean of; None for what is no mean over folds."""
    num_folds: int | None = None
    """The number of folds that there should be."""
    mark: str | None = None
    star: bool = False
    """Better than the best other PEFT row of its column, significant after the corrections."""
    star_uncorrected: bool = False
    """The same by the paired t-test without a correction, as the paper has it."""
    worse: bool = False
    """The contrary of a star."""
    worse_uncorrected: bool = False
    """The contrary of the paper's star."""
    published: Value | None = None
    published_mark: str | None = None
    published_star: bool = False
    note: str | None = None
    """What a reader must know of it, in a sentence."""
    command: str | None = None
    """What runs the folds that are missing."""
    is_mixed: bool = False
    """Of records that differ in more than their fold; only where the user allowed it."""
    comparison: "Comparison | None" = None
    """With the best other PEFT row of its column, over folds; None where it is compared with nothing."""
    resampled: "Resampled | None" = None
    """The same over test samples."""

    def compared_with(self, comparison: "Comparison", resampled: "Resampled | None") -> "TableCell":
        """The cell with its comparison, and the marks that follow from it."""
        return replace(
            self, comparison=comparison, resampled=resampled, star=comparison.star,
            star_uncorrected=comparison.uncorrected_star, worse=comparison.is_worse,
            worse_uncorrected=comparison.is_worse_uncorrected,
        )  # fmt: skip

    @property
    def is_complete(self) -> bool:
        """There is a value, over all folds where it is a mean over folds."""
        return self.value is not None and self.folds == self.num_folds

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        if isinstance(self.value, str) or isinstance(self.published, str):
            return None
        return None if self.value is None or self.published is None else self.value - self.published

    @property
    def difference_share(self) -> float | None:
        """The difference as a share of the published value."""
        if self.difference is None or not self.published or isinstance(self.published, str):
            return None
        return self.difference / self.published


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A line: its label and a cell for each column."""

    label: str
    cells: Sequence[TableCell]
    section: str = ""
    """The heading under which rows stand together; empty where there is none."""
    rule: bool = False
    """A line is drawn above it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, in the order in which it is read."""

    name: str
    title: str
    corner: str
    """The heading of the labels."""
    columns: Sequence[Column]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()
    facts: Sequence[str] = ()
    """Sentences of the caption on how ours came about."""
    group_heading: str = ""
    """What the groups of columns are: Backbone LLM, Data set."""
    column_heading: str = ""
    """What the columns of a group are: Metric; in LaTeX it stands in the corner, as in the paper."""
    has_published: bool = False
    is_wide: bool = True
    """Over both columns of a page."""
    command: str | None = None
    """What runs all of it, skipping what is finished."""

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), self.name

    @property
    def is_whole(self) -> bool:
        """No cell lacks anything that a command would add."""
        return all(cell.command is None for row in self.rows for cell in row.cells)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups in order, with their numbers of columns."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found


def marked(table: Table) -> Table:
    """The table with the best and the second-best value of every column marked, as printed: equal values share a mark.

    Only whole means are compared, and only where there are two values to compare.
    """
    marks: list[dict[int, str]] = [_marks(table, position) for position in range(len(table.columns))]
    rows = [
        replace(row, cells=[replace(cell, mark=marks[c].get(r)) for c, cell in enumerate(row.cells)])
        for r, row in enumerate(table.rows)
    ]
    return replace(table, rows=rows)


def _marks(table: Table, position: int) -> dict[int, str]:
    column = table.columns[position]
    if column.better == "none":
        return {}
    cells = {index: row.cells[position] for index, row in enumerate(table.rows)}
    values = {i: cell.value for i, cell in cells.items() if cell.is_complete and isinstance(cell.value, int | float)}
    texts = {index: column.shown(value) for index, value in values.items()}
    order = sorted(values, key=lambda index: values[index], reverse=column.better == "higher")
    ranked = list(dict.fromkeys(texts[index] for index in order))
    if len(ranked) < 2:
        return {}
    names = dict(zip(ranked, (BEST, SECOND), strict=False))
    return {index: names[text] for index, text in texts.items() if text in names}


def published(table: Table) -> Table:
    """The published values in the place of ours."""
    rows = [
        replace(
            row,
            cells=[
                TableCell(value=cell.published, mark=cell.published_mark, star=cell.published_star)
                for cell in row.cells
            ],
        )
        for row in table.rows
    ]
    columns = [replace(column, is_published=True) for column in table.columns]
    title = f"{table.title} As published."
    return replace(table, name=f"{table.name}_published", title=title, columns=columns, rows=rows, notes=(), facts=())


def compared(table: Table) -> Table:
    """Ours beside published with the difference, ours - published, and its share of the published value.

    A section for each group of columns; a column of published values that are not numbers is left out.
    """
    names = list(dict.fromkeys(column.name for column in table.columns if column.digits))
    first = {name: next(column for column in table.columns if column.name == name) for name in names}
    columns = [column for name in names for column in _compared_columns(first[name])]
    rows: list[TableRow] = []
    for group in dict.fromkeys(column.group for column in table.columns):
        places = [next(i for i, c in enumerate(table.columns) if (c.group, c.name) == (group, name)) for name in names]
        for place, row in enumerate(table.rows):
            cells = [part for place in places for part in _compared_cells(row.cells[place], table.columns[place])]
            rows.append(TableRow(label=row.label, cells=cells, section=group, rule=place == 0 and bool(rows)))
    title = f"{table.title} Ours beside published; difference = ours - published (share of the published value)."
    return replace(
        table, name=f"{table.name}_compared", title=title, columns=columns, rows=rows, group_heading="Metric",
        column_heading="",
    )  # fmt: skip


def _compared_columns(column: Column) -> list[Column]:
    ours = Column(group=column.heading, name="ours", digits=column.digits)
    published = replace(ours, name="published", is_published=True)
    return [ours, published, replace(ours, name="difference", digits="")]


def _compared_cells(cell: TableCell, column: Column) -> list[TableCell]:
    ours = replace(cell, published=None, published_mark=None, published_star=False)
    theirs = TableCell(value=cell.published, mark=cell.published_mark, star=cell.published_star)
    signed = column.digits.replace(",", "+,") if "," in column.digits else f"+{column.digits}"
    if cell.difference is None:
        return [ours, theirs, TableCell()]
    share = "" if cell.difference_share is None else f" ({number(cell.difference_share, '+.1%')})"
    return [ours, theirs, TableCell(value=f"{number(cell.difference, signed)}{share}")]


MIXED, WORSE = "\N{DAGGER}", "\N{BLACK DOWN-POINTING TRIANGLE}"
STAR = "*"


def signs(cell: TableCell) -> str:
    """The signs behind a value; what holds without the corrections alone stands in brackets."""
    better = STAR if cell.star else f"({STAR})" if cell.star_uncorrected else ""
    worse = WORSE if cell.worse else f"({WORSE})" if cell.worse_uncorrected else ""
    return better + worse + MIXED * cell.is_mixed


def folds(cell: TableCell) -> str:
    """3/5 where a value is the mean of some folds only, else nothing."""
    return f"({cell.folds}/{cell.num_folds})" if cell.value is not None and not cell.is_complete else ""


_CORRECTED = "p < 0.05 by the corrected resampled t-test over folds and Holm's correction over the table's columns"
_PAIRED = "by the paired t-test over folds alone and without a correction, as in the paper"


def legend(table: Table) -> list[str]:
    """What a caption says besides the title: how ours came about, and what each sign means that occurs."""
    placed = [(column, cell) for row in table.rows for column, cell in zip(table.columns, row.cells, strict=True)]
    cells = [cell for _, cell in placed]
    ours = [cell for column, cell in placed if not column.is_published]
    theirs = [cell for column, cell in placed if column.is_published]
    shown = "".join(map(signs, ours))
    found = [
        (any(cell.mark for cell in cells), "Best of a column bold, second best underlined, as printed."),
        (any(map(folds, ours)), f"(k/{NUM_FOLDS}): the mean of k of {NUM_FOLDS} folds, not ranked, never starred."),
        (any(c.star for c in ours), f"{STAR}: better than the best other PEFT row, {_CORRECTED}."),
        (any(c.worse for c in ours), f"{WORSE}: worse than the best other PEFT row, {_CORRECTED}."),
        (f"({STAR})" in shown, f"({STAR}): better than the best other PEFT row, p < 0.05 {_PAIRED}."),
        (f"({WORSE})" in shown, f"({WORSE}): worse than the best other PEFT row, p < 0.05 {_PAIRED}."),
        (
            any(cell.star for cell in theirs),
            f"{STAR} (published): p < 0.05 by the paper's two-sided t-test against the best PEFT baseline.",
        ),
        (any(cell.is_mixed for cell in ours), f"{MIXED}: of runs that differ in more than their fold."),
        (any(cell.value is None for cell in cells), f"{DASH}: no value."),
    ]
    return [*table.facts, *(sentence for holds, sentence in found if holds)]
