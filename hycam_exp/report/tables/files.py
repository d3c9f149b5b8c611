"""The files of a report: a table's forms by path, written only where their content changed."""

from collections.abc import Mapping
from pathlib import Path

from hycam_exp.report.tables.latex import latex
from hycam_exp.report.tables.long_csv import csv_form
from hycam_exp.report.tables.markdown import page
from hycam_exp.report.tables.table import Table, compared, published
from hycam_exp.runs import write_atomically


def forms(table: Table) -> list[Table]:
    """Ours; where the paper has numbers, also published, and ours beside published."""
    return [table, published(table), compared(table)] if table.has_published else [table]


def contents(table: Table) -> dict[str, str]:
    """One page and one CSV, and a LaTeX file for each form, by name."""
    of_table = forms(table)
    named = {f"{form.name}.tex": latex(form) for form in of_table}
    return {f"{table.name}.md": page(of_table), f"{table.name}.csv": csv_form(table), **named}


def write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files whose content changed; they are returned."""
    changed = []
    for name, text in sorted(files.items()):
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text.encode())
            changed.append(path)
    return changed
