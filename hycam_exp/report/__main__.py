"""`python -m hycam_exp.report [--results DIR]`: the paper's tables, and ours, from the run records.

Each study of results/studies gives its tables/, figures/ and report.html in its own folder, from its records alone; the
runs of results/runs give theirs in results/report. `python -m hycam_exp.report claims` recomputes the paper's
statements, `statistics` tests HyCAM against the others, `figures` draws; with study=NAME all of them are of one study.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hycam_exp.data.table1 import FILE, Measured, read_measured
from hycam_exp.report import page, published
from hycam_exp.report.cache import Cache, kept_in
from hycam_exp.report.experiments import Experiments, progress
from hycam_exp.report.frame import Frame, Problem, read
from hycam_exp.report.page import sample_texts
from hycam_exp.report.select import Selection, row_cells, select
from hycam_exp.report.sources import RecordSource, chosen_sources
from hycam_exp.report.tables import text
from hycam_exp.report.tables.build import Report, build
from hycam_exp.report.tables.means import means
from hycam_exp.runtime.command_line import Parser, as_errors, leave_pipe, refuse
from hycam_exp.runtime.interruption import ended_by_signals

if TYPE_CHECKING:
    from hycam_exp.report.figures.catalogue import Drawing


def everything(arguments: Sequence[str]) -> int:
    """Write all that follows from the records and print means over folds; 1 if a record or a row was refused."""
    parser = Parser(prog="python -m hycam_exp.report", description=__doc__)
    parser.add_argument("study", nargs="*", help="study=NAME: of results/studies alone; else all, and the own runs")
    parser.add_argument("--results", type=Path, default=Path("results"), help="holds studies/ and runs/")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="what is kept between two reports")
    parser.add_argument("--allow-mixed", action="store_true", help="rows of differing recipe, data or split, marked")
    chosen = parser.parse_args(arguments)
    sources = chosen_sources(chosen.results, chosen.study)
    if not any(path for source in sources for path in source.records.glob("*.json")):
        sys.exit(as_errors(f"--results={chosen.results}: no study, and no record in {sources[-1].records}"))
    cache = kept_in(chosen.outputs)
    problems = [problem for source in sources for problem in _write_all(source, chosen, cache)]
    for problem in problems:
        print(as_errors(problem), file=sys.stderr)
    return 1 if problems else 0


def _write_all(source: RecordSource, chosen: Namespace, cache: Cache) -> Sequence[Problem]:
    """The tables, the figures and the page of one source; what is wrong with its records."""
    from hycam_exp.report.figures.catalogue import Drawing

    print(f"== {source.out} ==")
    experiments = Experiments(cache)
    frame = read(source, experiments)
    selection = select(frame, experiments)
    with Drawing(selection, source.out / "figures", cache) as drawing:
        content = _content(frame, selection, experiments, drawing, chosen)
    cache.save()
    path = source.out / "report.html"
    print(f"{path}: {'wrote' if page.write(path, content) else 'unchanged'}")
    return content.problems


def _content(
    frame: Frame, selection: Selection, experiments: Experiments, drawing: "Drawing", chosen: Namespace
) -> page.PageContent:
    """All that the page shows; on the way the means are printed and the tables written."""
    from hycam_exp.report.claims.evidence import gather
    from hycam_exp.report.claims.statements import found
    from hycam_exp.report.statistics.bootstrap import Bootstrap

    source, cache = frame.source, experiments.cache
    bootstrap = Bootstrap(source, cache)
    counts, unread = _measured(chosen.results / FILE)
    report = build(selection, experiments, chosen.allow_mixed, bootstrap, counts)
    means(selection, Console(markup=False, highlight=False))
    _write_tables(source, report)
    samples = sample_texts.read(source, [run.id for run in frame.runs])
    written, absent = _drawn(source, selection, drawing)
    return page.PageContent(
        source=source, rows=selection.rows, samples=samples, tables=report.tables,
        grids=progress(experiments, row_cells(selection, experiments)),
        problems=[
            *frame.problems, *selection.problems, *unread, *report.problems, *bootstrap.problems, *samples.problems,
        ],
        figures=pictures(source.out / "figures", written, [run.id for run in frame.runs]), missing_figures=absent,
        claims=found(published.read(), gather(selection), cache),
    )  # fmt: skip


def _measured(path: Path) -> tuple[Measured | None, list[Problem]]:
    """What was measured of the data sets, or why that cannot be read."""
    try:
        return read_measured(path), []
    except ValueError as error:
        return None, [Problem(str(path), str(error).removeprefix(f"{path}: "))]


def _write_tables(source: RecordSource, report: Report) -> None:
    contents = {name: content for table in report.tables for name, content in text.contents(table).items()}
    changed = text.write(source.out / "tables", contents)
    print(f"{source.out / 'tables'}: {len(contents)} files, {len(changed)} of them changed")
    for path in changed:
        print(f"  wrote {path.name}")


def _drawn(source: RecordSource, selection: Selection, drawing: "Drawing") -> tuple[list[Path], list[tuple[str, str]]]:
    """Every figure that the records give, once it is drawn: its files, and by name those without records, each with
    the command that makes them."""
    from hycam_exp.report.figures.catalogue import missing

    files = drawing.files()
    written = [path for paths in files.values() for path in paths]
    print(f"{source.out / 'figures'}: {len(written)} files")
    for row in selection.beside:
        name = f"{row.model} x {row.label} x {row.data}"
        print(f"  {name} is in no figure and no claim: what it was run on is not what the tables ask for, or most runs")
    absent = missing(selection, files)
    for figure, command in absent:
        print(f"  no {figure} yet: its records come from {command}")
    return written, absent


def pictures(folder: Path, drawn: Sequence[Path], run_ids: Sequence[str]) -> list[Path]:
    """The PNG files to show: those drawn of the records, then those of a run (from its adapter) that has a record."""
    of_runs = [path for run_id in run_ids for path in (folder / run_id).glob("*.png")]
    return [*(path for path in drawn if path.suffix == ".png"), *sorted(of_runs)]


def _claims(arguments: Sequence[str]) -> int:
    from hycam_exp.report.claims.__main__ import main

    return main(arguments)


def _figures(arguments: Sequence[str]) -> int:
    from hycam_exp.report.figures.__main__ import main

    main(arguments)
    return 0


def _statistics(arguments: Sequence[str]) -> int:
    from hycam_exp.report.statistics.__main__ import main

    return main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "claims": _claims,
    "figures": _figures,
    "statistics": _statistics,
}
"""Sub-commands by name; without one everything is written."""


@ended_by_signals()
def main() -> None:
    """Hand over to a sub-command; what a user can mend ends in one line."""
    name, *rest = sys.argv[1:] or [""]
    is_option = not name or name.startswith("-") or "=" in name
    if not is_option and name not in COMMANDS:
        refuse(f"{name}: no such command; there are {', '.join(COMMANDS)}")
    try:
        sys.exit(COMMANDS[name](rest) if name in COMMANDS else everything(sys.argv[1:]))
    except BrokenPipeError:
        leave_pipe()
    except (OSError, ValueError) as error:
        sys.exit(as_errors(error))


if __name__ == "__main__":
    main()
