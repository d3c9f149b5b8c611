"""The paper's tables of results as values, each with the file and line that it stands in.

E.g. `read().tables["table2_main"][0].value` is 3.193. Table 1 and the reader of all are `hycam_exp.data.table1`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hycam_exp.config import methods
from hycam_exp.data.table1 import Dataset, PublishedRow, datasets, rows
from hycam_exp.data.table1 import folder as committed

if TYPE_CHECKING:
    from hycam_exp.report.claims.evidence import Scoreboard

METHODS = {method.title: name for name, method in methods.METHODS.items() if method.published}
VARIANTS = {method.ablation: name for name, method in methods.METHODS.items() if method.ablation is not None}
SCORES = ("ppl", "bleu4", "rouge_l")
"""The metrics of the paper's tables: another one that this software has is in none of them."""
MARKS = ("", "best", "second")
TABLES = {
    "table2_main": "backbone", "table3_qwen_sizes": "backbone", "table4_llama32": "backbone",
    "table5_tasks_llama2_7b": "task",
}  # fmt: skip
"""The tables of methods, and what their columns are."""
ABLATION = "table6_ablation_llama2_7b"
ROUNDING = 0.0005
"""The tables give three decimals."""


@dataclass(frozen=True, kw_only=True)
class PublishedCell:
    """A value with its mark; `place` is file:line."""

    method: str
    """By its name in this project; `printed` is the paper's."""
    printed: str
    column: str
    metric: str
    value: float
    mark: str
    starred: bool
    place: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """All tables of a folder."""

    folder: Path
    datasets: list[Dataset]
    tables: dict[str, list[PublishedCell]]
    ablation: dict[str, float]

    def scoreboard(self, table: str) -> "Scoreboard":
        """A table of methods as scores."""
        from hycam_exp.report.claims.evidence import Scoreboard

        return Scoreboard({(c.method, c.column, c.metric): c.value for c in self.tables[table]})


def read(folder: Path | None = None) -> Published:
    """Every table; without a folder the committed ones.

    Raises:
        ValueError: a file is missing, or a line is not what it should be; names file and line.
    """
    folder = folder or committed()
    return Published(
        folder=folder,
        datasets=datasets(folder),
        tables={name: _table(folder, name, column) for name, column in TABLES.items()},
        ablation=_ablation(folder),
    )


def _table(folder: Path, name: str, column: str) -> list[PublishedCell]:
    """The cells of a table, every method with every column and metric once."""
    cells: dict[tuple[str, str, str], PublishedCell] = {}
    for row in rows(folder, name, ("method", column, "metric", "value", "mark", "starred")):
        cell = _cell(row, column)
        key = (cell.method, cell.column, cell.metric)
        if key in cells:
            raise row.error(f"{cell.printed}, {cell.column}, {cell.metric} stands in {cells[key].place} already")
        cells[key] = cell
    columns = dict.fromkeys(cell.column for cell in cells.values())
    for printed, method in METHODS.items():
        lacking = [f"{c}, {metric}" for c in columns for metric in SCORES if (method, c, metric) not in cells]
        if lacking:
            raise ValueError(f"{folder / name}.csv: no line for {printed}, {lacking[0]}")
    return list(cells.values())


def _cell(row: PublishedRow, column: str) -> PublishedCell:
    printed = row.one_of("method", METHODS)
    return PublishedCell(
        method=METHODS[printed],
        printed=printed,
        column=row.text(column),
        metric=row.one_of("metric", SCORES),
        value=row.number("value"),
        mark=row.one_of("mark", MARKS),
        starred=row.one_of("starred", ("", "yes")) == "yes",
        place=row.place,
    )


def _ablation(folder: Path) -> dict[str, float]:
    """Perplexity by variant."""
    found: dict[str, float] = {}
    for row in rows(folder, ABLATION, ("variant", "ppl")):
        variant = VARIANTS[row.one_of("variant", VARIANTS)]
        if variant in found:
            raise row.error(f"variant={row.text('variant')} stands here a second time")
        found[variant] = row.number("ppl")
    lacking = [name for name, variant in VARIANTS.items() if variant not in found]
    if lacking:
        raise ValueError(f"{folder / ABLATION}.csv: no line for {', '.join(lacking)}")
    return found
