"""What the marks of a table mean: a sentence for each that occurs in it."""

from hycam_exp.config import NUM_FOLDS
from hycam_exp.report.tables.table import DASH, PLUS_MINUS, Cell, Table

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
    placed = [(column, cell) for row in table.rows for column, cell in zip(table.columns, row.cells, strict=True)]
    cells = [cell for _, cell in placed]
    ours = [cell for column, cell in placed if not column.is_published]
    theirs = [cell for column, cell in placed if column.is_published]
    found = [
        (any(cell.folds for cell in ours), f"Means over folds {PLUS_MINUS} sample standard deviation."),
        (any(cell.mark for cell in cells), "Best of a column bold, second best underlined, as printed."),
        (any(map(folds, ours)), f"(k/{NUM_FOLDS}): the mean of k of {NUM_FOLDS} folds, not ranked, never starred."),
        (any(cell.star for cell in ours), f"{STAR}: {_BETTER}, {_BOTH}."),
        (any(map(_is_uncorrected, ours)), f"{UNCORRECTED}: {_BETTER}, {_PAIRED}."),
        (any(cell.star for cell in theirs), f"{STAR} (published): {_PUBLISHED}."),
        (any(cell.is_mixed for cell in ours), f"{MIXED}: of records that differ in more than their fold."),
        (any(cell.value is None for cell in cells), f"{DASH}: no value."),
    ]
    return [sentence for holds, sentence in found if holds]


_BETTER = "better than the best PEFT baseline"
_BOTH = (
    "p < 0.05 after Holm's correction over the table both by the paired t-test over folds and by the corrected"
    " resampled one, which decides, its p being the larger"
)
_PAIRED = "p < 0.05 by the paired t-test over folds alone and without a correction, as in the paper"
_PUBLISHED = "p < 0.05 by the paper's two-sided t-test against the best PEFT baseline"


def _is_uncorrected(cell: Cell) -> bool:
    return cell.star_uncorrected and not cell.star
