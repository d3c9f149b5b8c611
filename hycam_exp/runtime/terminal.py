"""Tables in a terminal of any width: names wrap, and no number is cut."""

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_UNBOUNDED = 10_000  # columns
_NAME = 12  # columns that a name is left at least
_LONG = 40  # columns that a name may have before it wraps rather than the numbers take another form


def numbers(table: Table, *headings: str) -> None:
    """Add columns of numbers, which never wrap but where a cell has a line break."""
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def forms(
    title: str, groups: Sequence[Sequence[str]], names: Collection[str], rows: Sequence[Sequence[str]]
) -> tuple[Table, Table]:
    """A table with a column for every heading, and a narrow one, where those of a group stand above each other.

    All headings are of numbers but for the `names`, which share no group with them.
    """
    wide, narrow = Table(title=title, title_justify="left"), Table(title=title, title_justify="left", show_lines=True)
    for table, parts in ((wide, [[heading] for group in groups for heading in group]), (narrow, groups)):
        for part in parts:
            is_name = part[0] in names
            table.add_column("\n".join(part), justify="left" if is_name else "right", no_wrap=not is_name)
        for row in rows:
            cells = iter(row)
            table.add_row(*("\n".join(next(cells) for _ in part) for part in parts))
    return wide, narrow


def show(console: Console, *forms: Table) -> None:
    """Print the first form of a table that fits; if none does the last one, its names wrapped, the rest whole."""
    chosen = next((form for form in forms if _width(console, form, _LONG) <= console.width), forms[-1])
    for column in chosen.columns:
        lines = [line for cell in (column.header, *column.cells) for line in str(cell).splitlines()]
        column.overflow = "fold"
        column.min_width = max(map(cell_len, lines), default=0) if column.no_wrap else _NAME
    console = Console(
        file=console.file, width=max(console.width, _width(console, chosen, _NAME)), markup=False, emoji=False
    )
    console.print(chosen, highlight=False)


def _width(console: Console, table: Table, name: int) -> int:
    """Columns that it takes with names wrapped at so many, and nothing else."""
    wrapped = [column for column in table.columns if not column.no_wrap]
    for column in wrapped:
        column.max_width = name
    found = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
    for column in wrapped:
        column.max_width = None
    return found
