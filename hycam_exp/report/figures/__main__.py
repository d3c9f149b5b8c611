"""`python -m hycam_exp.report figures`: every figure that the run records give, as PDF, PNG and CSV.

With run=RUN_ID or a folder: the figures that need a trained model, from its adapter, for a HyCAM run: the weight matrix
and t-SNE. Further: results=DIR, outputs=DIR, folder=DIR (where the figures go; default results/figures), and for a run
task=NAME (whose text the weight matrix shows) and blocks=N,N,... (t-SNE shows the last).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hycam_exp.command_line import as_errors, key_values
from hycam_exp.method_settings import require

if TYPE_CHECKING:
    from hycam_exp.report.frame import Problem

OPTIONS = {"run": "", "results": "results", "outputs": "outputs", "folder": "", "task": "", "blocks": ""}


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
        folder = Path(chosen["folder"] or Path(chosen["results"]) / "figures")
        found = (_of_run(chosen, folder), []) if chosen["run"] else _of_records(Path(chosen["results"]), folder)
    except ValueError as error:
        sys.exit(as_errors(error))
    written, problems = found
    for path in written:
        print(path)
    if problems:
        sys.exit("\n".join(map(as_errors, problems)))


def _of_records(results: Path, folder: Path) -> tuple[list[Path], list[Problem]]:
    """The files, and the records that were left out."""
    from hycam_exp.report.figures.catalogue import missing, write_all
    from hycam_exp.report.frame import read
    from hycam_exp.report.select import summarise

    collection = read(results)
    summaries = summarise(collection.records)
    require(bool(summaries), "results", results, f"no record in {results / 'runs'}")
    files = write_all(summaries, folder)
    for figure, command in missing(summaries, files):
        print(f"{figure}: no records yet; they come from {command}", file=sys.stderr)
    return [path for paths in files.values() for path in paths], collection.problems


def _of_run(chosen: dict[str, str], folder: Path) -> list[Path]:
    from hycam_exp.report.figures import style, trained, tsne, weight_matrix

    found = trained.load(chosen["run"], Path(chosen["outputs"]), Path(chosen["results"]))
    blocks = [int(number) for number in chosen["blocks"].split(",")] if chosen["blocks"] else None
    with style.applied():
        plates = [
            weight_matrix.draw(found, chosen["task"] or None, blocks),
            tsne.draw(found, max(blocks) if blocks else None),
        ]
        return [path for plate in plates for path in plate.write(folder / found.name)]


if __name__ == "__main__":
    main(sys.argv[1:])
