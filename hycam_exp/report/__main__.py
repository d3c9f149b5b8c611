"""`python -m hycam_exp.report [--results DIR]`: the paper's tables, and ours, from the run records.

`python -m hycam_exp.report claims` recomputes the paper's statements, `statistics` tests HyCAM against the others,
`figures` draws.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hycam_exp.command_line import Parser, as_errors, leave_pipe, refuse
from hycam_exp.data import measured
from hycam_exp.report import page
from hycam_exp.report.experiments import Experiments, Memo
from hycam_exp.report.frame import Collection, Problem, read
from hycam_exp.report.ground import left_out
from hycam_exp.report.page import sample_texts
from hycam_exp.report.progress import progress
from hycam_exp.report.select import Summary, summarise
from hycam_exp.report.tables import files
from hycam_exp.report.tables import means as printed
from hycam_exp.report.tables.build import Report, build

if TYPE_CHECKING:
    from hycam_exp.report.figures.catalogue import Drawing

FiguresAndAbsent = tuple[list[Path], list[tuple[str, str]]]
"""The files of figures, and the figures that lack records with the commands that make them."""


def everything(arguments: Sequence[str]) -> int:
    """Write all that follows from the records and print means over folds; 1 if a record or a row was refused."""
    parser = Parser(prog="python -m hycam_exp.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="holds runs/; tables/ is written there")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="what is kept between two reports")
    parser.add_argument("--allow-mixed", action="store_true", help="rows of differing recipe, split or code, marked")
    chosen = parser.parse_args(arguments)
    from hycam_exp.report.figures.catalogue import Drawing
    from hycam_exp.report.figures.drawn import Drawn

    collection = read(chosen.results)
    if not collection.records and not collection.problems:
        sys.exit(as_errors(f"--results={chosen.results}: no record in {chosen.results / 'runs'}"))
    summaries, kept = summarise(collection.records), _kept(chosen.outputs)
    drawn = Drawn(kept / "figures.json", chosen.results / "runs")
    with Drawing(summaries, chosen.results / "figures", drawn) as drawing:
        content = _content(chosen, collection, summaries, Memo(kept), drawing)
    path = chosen.results / "report.html"
    print(f"{path}: {'wrote' if page.write(path, content) else 'unchanged'}")
    for problem in content.problems:
        print(as_errors(problem), file=sys.stderr)
    return 1 if content.problems else 0


def _content(
    chosen: Namespace, collection: Collection, summaries: Sequence[Summary], memo: Memo, drawing: "Drawing"
) -> page.PageContent:
    """All that the page shows; on the way the means are printed and the tables written."""
    from hycam_exp.report.claims.catalogue import statements
    from hycam_exp.report.statistics.resampling import Resampling

    experiments = Experiments(memo)
    resampling = Resampling(chosen.results, memo.path.with_name("bootstrap.json") if memo.path else None)
    counts, unread = _measured(chosen.results / measured.FILE)
    report = build(summaries, experiments, chosen.allow_mixed, resampling, counts)
    resampling.save()
    grids = progress(experiments, summaries)
    found = statements(None, summaries, memo)
    memo.save()
    scored = [summary for summary in summaries if summary.mean("ppl") is not None]
    printed.means(scored, Console(markup=False, highlight=False))
    _write(chosen.results, report)
    run_ids = [record.run_id for summary in summaries for record in summary.records]
    samples = sample_texts.read(chosen.results, run_ids)
    drawn, absent = _drawn(chosen.results, summaries, drawing)
    return page.PageContent(
        summaries=summaries, samples=samples, tables=report.tables, grids=grids,
        problems=[*collection.problems, *unread, *report.problems, *samples.problems],
        figures=pictures(chosen.results / "figures", drawn, run_ids), missing_figures=absent, claims=found,
    )  # fmt: skip


def _measured(path: Path) -> tuple[measured.Measured | None, list[Problem]]:
    """What was measured of the data sets, or why that cannot be read."""
    try:
        return measured.read(path), []
    except ValueError as error:
        return None, [Problem(str(path), str(error).removeprefix(f"{path}: "))]


def _kept(outputs: Path) -> Path:
    """The folder of what is kept between two reports, which is there from now on."""
    folder = outputs / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--outputs={outputs}: {folder} cannot be made ({error.strerror})") from error
    return folder


def _write(results: Path, report: Report) -> None:
    contents = {name: text for table in report.tables for name, text in files.contents(table).items()}
    changed = files.write(results / "tables", contents)
    print(f"{results / 'tables'}: {len(contents)} files, {len(changed)} of them changed")
    for path in changed:
        print(f"  wrote {path.name}")


def _drawn(results: Path, summaries: Sequence[Summary], drawing: "Drawing") -> FiguresAndAbsent:
    """Every figure that the records give, once it is drawn: its files, and by name those without records."""
    from hycam_exp.report.figures.catalogue import missing

    files = drawing.files()
    written = [path for paths in files.values() for path in paths]
    print(f"{results / 'figures'}: {len(written)} files")
    for summary in left_out(summaries):
        name = f"{summary.model} x {summary.method} x {summary.data}"
        reason = "most runs of its mix are of another folder, of other data or another recipe"
        print(f"  {name} ({summary.variant}) is in no figure: {reason}")
    absent = missing(summaries, files)
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
    from hycam_exp.report.statistics import __main__ as comparisons

    return comparisons.main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "claims": _claims,
    "figures": _figures,
    "statistics": _statistics,
}
"""Sub-commands by name; without one everything is written."""


def main() -> None:
    """Hand over to a sub-command; what a user can mend ends in one line."""
    name, *rest = sys.argv[1:] or [""]
    if name and not name.startswith("-") and name not in COMMANDS:
        refuse(f"{name}: no such command; there are {', '.join(COMMANDS)}")
    try:
        sys.exit(COMMANDS[name](rest) if name in COMMANDS else everything(sys.argv[1:]))
    except BrokenPipeError:
        leave_pipe()
    except (OSError, ValueError) as error:
        sys.exit(as_errors(error))


if __name__ == "__main__":
    main()
