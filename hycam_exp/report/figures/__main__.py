"""`python -m hycam_exp.report figures`: every figure that the run records give, as PDF, PNG and CSV.

With study=NAME those of a study alone. With run=RUN_ID or a folder: the figures that need a trained model, from its
adapter, for a HyCAM run: the weight matrix and t-SNE. Further: results=DIR, outputs=DIR, folder=DIR (where the figures
go; default figures/ beside the records), and for a run task=NAME (whose text the weight matrix shows) and
blocks=N,N,... (t-SNE shows the last).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hycam_exp.runtime.command_line import as_errors, key_values
from hycam_exp.runtime.require import require

if TYPE_CHECKING:
    from hycam_exp.report.frame import Problem

OPTIONS = {
    "run": "", "study": "", "results": "results", "outputs": "outputs", "folder": "", "task": "", "blocks": "",
}  # fmt: skip


def options(arguments: Sequence[str]) -> dict[str, str]:
    """The command line's key=value pairs over the defaults.

    Raises:
        ValueError: a key is unknown, blocks are no numbers, or there is a task or a block but no run.
    """
    chosen = key_values(arguments, OPTIONS)
    numbers = chosen["blocks"].split(",") if chosen["blocks"] else []
    require(all(n.isdecimal() for n in numbers), "blocks", chosen["blocks"], "must be numbers of blocks: blocks=0,3")
    for key in ("task", "blocks"):
        require(bool(chosen["run"]) or not chosen[key], key, chosen[key], "belongs to a run: run=RUN_ID")
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Draw, and print what was written and what is missing, or one line about what is wrong."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        chosen = options(arguments)
        written, problems = (_of_run(chosen), []) if chosen["run"] else _of_records(chosen)
    except ValueError as error:
        sys.exit(as_errors(error))
    for path in written:
        print(path)
    if problems:
        sys.exit("\n".join(map(as_errors, problems)))


def _of_records(chosen: dict[str, str]) -> tuple[list[Path], list[Problem]]:
    """The files, and the records that were left out."""
    from hycam_exp.report.cache import held_in
    from hycam_exp.report.experiments import Experiments
    from hycam_exp.report.figures.catalogue import missing, write_all
    from hycam_exp.report.frame import read
    from hycam_exp.report.select import select
    from hycam_exp.report.sources import chosen_sources

    results, experiments = Path(chosen["results"]), Experiments(held_in(Path(chosen["outputs"])))
    written: list[Path] = []
    problems: list[Problem] = []
    for source in chosen_sources(results, [f"study={chosen['study']}"]):
        selection = select(read(source, experiments), experiments)
        files = write_all(selection, Path(chosen["folder"] or source.out / "figures"))
        for figure, command in missing(selection, files) if selection.groups else ():
            print(f"{figure}: no records yet; they come from {command}", file=sys.stderr)
        written += [path for paths in files.values() for path in paths]
        problems += [*selection.frame.problems, *selection.problems]
    require(bool(written or problems), "results", results, f"no record in {results / 'runs'}")
    return written, problems


def _of_run(chosen: dict[str, str]) -> list[Path]:
    from hycam_exp.report.figures import style, trained, tsne, weight_matrix
    from hycam_exp.report.sources import chosen_sources

    sources = chosen_sources(Path(chosen["results"]), [f"study={chosen['study']}"])
    found = trained.load(chosen["run"], Path(chosen["outputs"]), sources)
    blocks = [int(number) for number in chosen["blocks"].split(",")] if chosen["blocks"] else None
    source = next((source for source in sources if source.record(found.name).is_file()), sources[-1])
    folder = Path(chosen["folder"] or source.out / "figures")
    with style.applied():
        pictures = [
            weight_matrix.draw(found, chosen["task"] or None, blocks),
            tsne.draw(found, max(blocks) if blocks else None),
        ]
        return [path for picture in pictures for path in picture.write(folder / found.name)]


if __name__ == "__main__":
    main(sys.argv[1:])
