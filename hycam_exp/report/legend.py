"""What the marks of a table mean: a sentence for each that occurs in it."""

from collections.abc import Iterable

from hycam_exp.report.table import DASH, PLUS_MINUS, Cell, Table

MIXED = "\N{DAGGER}"
STAR, UNCORRECTED = "*", "(*)"


def stars(cell: Cell) -> str:
    """The signs behind a value."""
    star = STAR if cell.star else UNCORRECTED if cell.star_uncorrected else ""
    return star + MIXED * cell.is_mixed


def folds(cell: Cell) -> str:
    """3/5 where a value is the mean of some folds only, else nothing."""
    return f"({cell.folds}/{cell.num_folds})" if cell.value is not None and not cell.is_complete else ""


def legend(table: Table) -> list[str]:
    """The sentences, in a fixed order."""
    cells = [cell for row in table.rows for cell in row.cells]
    means = any(cell.folds for cell in cells)
    published = table.name.endswith("_published")
    found = [
        (means, f"Means over folds {PLUS_MINUS} sample standard deviation."),
        (any(cell.mark for cell in cells), "Best of a column bold, second best underlined, as printed."),
        (any(map(folds, cells)), "(k/5): the mean of k of 5 folds, not ranked, never starred."),
        (any(cell.star for cell in cells), f"{STAR}: {_star(published)}."),
        (any(cell.star_uncorrected and not cell.star for cell in cells), f"{UNCORRECTED}: {_uncorrected()}."),
        (any(cell.is_mixed for cell in cells), f"{MIXED}: of records that differ in more than their fold."),
        (_has_dash(cells), f"{DASH}: not published." if published else f"{DASH}: no value."),
    ]
    return [sentence for holds, sentence in found if holds]


def _has_dash(cells: Iterable[Cell]) -> bool:
    return any(cell.value is None for cell in cells)


def _star(published: bool) -> str:
    if published:
        return "the paper's: p < 0.05 by a two-sided t-test against the best PEFT baseline"
    return "better than the best PEFT baseline, paired p < 0.05 over folds after Holm's correction over the table"


def _uncorrected() -> str:
    return "better than the best PEFT baseline, paired p < 0.05 over folds without a correction, as in the paper"
