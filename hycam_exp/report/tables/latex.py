"""A table as LaTeX in the paper's layout, with booktabs and graphicx; `document` is a whole file for a look at it."""

import re
from collections.abc import Sequence

from hycam_exp.report.tables.table import BEST, SECOND, Column, Table, TableCell, TableRow, folds, legend, signs

_ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "\n": " ",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$", "\N{UPWARDS ARROW}": r"$\uparrow$", "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{EN DASH}": r"\textendash{}", "\N{DAGGER}": r"\textsuperscript{\textdagger}",
    "\N{BLACK DOWN-POINTING TRIANGLE}": r"\textsuperscript{$\nabla$}",
})  # fmt: skip
_MINUS = re.compile(r"-(?=\d)")


def latex(table: Table) -> str:
    """A floating table; a row of groups above the headings where columns have groups."""
    kind = "table*" if table.is_wide else "table"
    lines = [
        rf"\begin{{{kind}}}[t]",
        r"\centering",
        rf"\caption{{{escape(' '.join((table.title, *legend(table))))}}}",
        rf"\label{{tab:{table.name}}}",
        r"\smallskip",
        *_fitted(table),
        *(rf"\par\smallskip{{\footnotesize {escape(note)}}}" for note in table.notes),
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def _fitted(table: Table) -> list[str]:
    """The tabular, as wide as the page unless it is narrow anyway."""
    if len(table.columns) <= 2:
        return _tabular(table)
    close = [r"\setlength{\tabcolsep}{3pt}"] if _is_crowded(table) else []
    return [r"\resizebox{0.95\linewidth}{!}{%", *close, *_tabular(table), "}"]


def _tabular(table: Table) -> list[str]:
    grouped = any(group for group, _ in table.groups)
    columns = "".join(f"|{'c' * width}" for _, width in table.groups) if grouped else "c" * len(table.columns)
    lines = [rf"\begin{{tabular}}{{l{columns}}}", r"\toprule"]
    if grouped:
        lines += [_groups(table), r"\midrule"]
    heads = [(table.column_heading if grouped else "") or table.corner, *(column.heading for column in table.columns)]
    lines += [_line([escape(head) for head in heads]), r"\midrule"]
    section = ""
    for row in table.rows:
        lines += [r"\midrule"] * row.rule
        if row.section != section:
            section = row.section
            lines.append(_line([rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\textit{{{escape(section)}}}}}"]))
        lines += _row(row, table.columns, _is_crowded(table))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _groups(table: Table) -> str:
    parts = [escape(table.group_heading)]
    for position, (group, width) in enumerate(table.groups):
        bar = "|" if position + 1 < len(table.groups) else ""
        parts.append(rf"\multicolumn{{{width}}}{{c{bar}}}{{{escape(group)}}}")
    return _line(parts)


def _is_crowded(table: Table) -> bool:
    """So many columns that spreads beside the values would leave letters too small to read."""
    return len(table.columns) > 9


def _row(row: TableRow, columns: Sequence[Column], is_crowded: bool) -> list[str]:
    """A line; in a crowded table spreads and folds stand in a second one, below their values."""
    placed = list(zip(row.cells, columns, strict=True))
    if not is_crowded or not any(small_text(cell, column) for cell, column in placed):
        return [_line([escape(row.label), *(cell_text(cell, column) for cell, column in placed)])]
    values = [escape(row.label), *(value_text(cell, column) for cell, column in placed)]
    small = ["", *(small_text(cell, column) for cell, column in placed)]
    return [rf"{' & '.join(values)} \\[-2pt]", _line(small)]


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def cell_text(cell: TableCell, column: Column) -> str:
    """A value with its marks, then spread and folds in small."""
    return f"{value_text(cell, column)} {small_text(cell, column)}".rstrip()


def value_text(cell: TableCell, column: Column) -> str:
    """A value with its star inside its mark, as in the paper."""
    text = _MINUS.sub("$-$", escape(column.shown(cell.value) + signs(cell)))
    if cell.value is not None:
        text = {BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}", None: text}[cell.mark]
    return text


def small_text(cell: TableCell, column: Column) -> str:
    """Spread and folds; empty where there are none."""
    small = [] if cell.spread is None else [rf"$\pm${escape(column.spread_shown(cell.spread))}"]
    small += [folds(cell)] if folds(cell) else []
    return rf"{{\scriptsize {' '.join(small)}}}" if small else ""


def escape(text: str) -> str:
    """The text with no sign of LaTeX's left."""
    return text.translate(_ESCAPES).replace("--", "-{}-")


def document(tables: Sequence[str]) -> str:
    """A whole document of rendered tables, in two columns as the paper is."""
    head = [
        r"\documentclass[twocolumn]{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        r"\begin{document}",
    ]
    return "\n".join([*head, *tables, r"\end{document}"]) + "\n"
