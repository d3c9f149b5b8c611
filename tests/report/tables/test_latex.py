"""LaTeX: the paper's layout, and nothing that does not compile."""

import shutil
import string
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.report.tables.latex import document, latex
from hycam_exp.report.tables.table import Column, TableRow, compared, published
from tests.report.toy import toy_table


def compiled(folder: Path, source: str) -> str:
    """The text of the PDF."""
    if not (shutil.which("pdflatex") and shutil.which("pdftotext")):
        pytest.skip("no pdflatex or pdftotext on this machine")
    (folder / "t.tex").write_text(source)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    return subprocess.run(["pdftotext", "t.pdf", "-"], cwd=folder, capture_output=True, text=True).stdout


def test_rows_are_exactly_these() -> None:
    """Best bold with its star inside, second underlined, spread and folds in small, a rule where the paper has one."""
    lines = latex(toy_table()).splitlines()
    assert lines[0] == r"\begin{table*}[t]"
    start = lines.index(r"\begin{tabular}{l|cc}")
    assert lines[start : lines.index(r"\end{tabular}")] == [
        r"\begin{tabular}{l|cc}",
        r"\toprule",
        r"Backbone & \multicolumn{2}{c}{A\_1} \\",
        r"\midrule",
        r"Method & PPL $\downarrow$ & BLEU-4 $\uparrow$ \\",
        r"\midrule",
        r"LoRA \& co & \underline{2.000} {\scriptsize $\pm$0.250} &"
        r" \underline{0.100\textsuperscript{$\nabla$}} {\scriptsize $\pm$0.010} \\",
        r"\midrule",
        r"HyCAM & \textbf{1.500*} {\scriptsize $\pm$0.125} & \textbf{0.200(*)\textsuperscript{\textdagger}} \\",
        r"100\%\_new & 1.000 {\scriptsize (3/5)} & \textendash{} \\",
        r"\bottomrule",
    ]


def test_groups_are_ruled_apart_and_plain_tables_are_not() -> None:
    """As in the paper: l|cc|cc, and lc for Table 6."""
    table = toy_table()
    columns = [*table.columns, Column(group="B", name="PPL")]
    wide = replace(table, columns=columns, rows=[replace(r, cells=[*r.cells, r.cells[0]]) for r in table.rows])
    assert r"\begin{tabular}{l|cc|c}" in latex(wide)
    assert r"Backbone & \multicolumn{2}{c|}{A\_1} & \multicolumn{1}{c}{B} \\" in latex(wide)
    plain = replace(table, columns=[replace(c, group="") for c in table.columns], is_wide=False)
    assert r"\begin{tabular}{lcc}" in latex(plain)
    assert latex(plain).startswith("\\begin{table}[t]\n")


def test_in_a_crowded_table_spreads_stand_below_their_values() -> None:
    """Of more than nine columns; a row without any has one line as before."""
    table = toy_table()
    rows = [replace(row, cells=[*row.cells] * 5) for row in (*table.rows[:1], replace(table.rows[1], label="none"))]
    bare = replace(rows[1], cells=[replace(cell, spread=None) for cell in rows[1].cells])
    lines = latex(replace(table, columns=[*table.columns] * 5, rows=[rows[0], bare])).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(r"LoRA \& co"))
    values, small = (
        r" & \underline{2.000} & \underline{0.100\textsuperscript{$\nabla$}}",
        r"& {\scriptsize $\pm$0.250} & {\scriptsize $\pm$0.010} ",
    )
    assert lines[start : start + 2] == [rf"LoRA \& co{values * 5} \\[-2pt]", rf" {small * 5}\\"]
    assert lines[start + 3].startswith("none & ")
    assert lines[start + 4] == r"\bottomrule"


def test_negative_numbers_have_a_minus() -> None:
    """Not a hyphen; text keeps its hyphens."""
    assert r"$-$0.500 ($-$25.0\%)" in latex(compared(toy_table()))
    assert "BLEU-4" in latex(toy_table())


def test_every_sign_survives(tmp_path: Path) -> None:
    """All printable ASCII, in label, note and title, compiles and comes out as it went in."""
    signs = "".join(c for c in string.printable if c.isprintable() and c != " ")
    table = toy_table()
    row = TableRow(label=f"X{signs}X", cells=table.rows[2].cells)
    source = document([latex(replace(table, rows=[row], columns=table.columns, notes=[signs], title=signs))])
    text = compiled(tmp_path, source)
    for fancy, plain in (
        ("\N{RIGHT SINGLE QUOTATION MARK}", "'"),
        ("\N{SMALL TILDE}", "~"),
        ("\N{TILDE OPERATOR}", "~"),
    ):
        text = text.replace(fancy, plain)
    assert [c for c in signs if text.count(c) < 2] == []


def test_the_forms_compile(tmp_path: Path) -> None:
    """With booktabs and graphicx; two hyphens stay two."""
    table = replace(toy_table(), notes=["python -m x --root DIR"])
    text = compiled(tmp_path, document([latex(form) for form in (table, published(table), compared(table))]))
    assert "1.500*" in text
    assert "(3/5)" in text
    assert "--root" in text
