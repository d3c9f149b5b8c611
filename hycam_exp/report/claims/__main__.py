"""`python -m hycam_exp.report claims`: the paper's statements, recomputed from its tables and from our records."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap

from hycam_exp.report import published
from hycam_exp.report.cache import held_in
from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.statements import Finding, Statement, found
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.frame import read
from hycam_exp.report.select import select
from hycam_exp.report.sources import chosen_sources
from hycam_exp.runtime.command_line import Parser, as_errors

SCHEMA_VERSION = 1
RESULTS = Path("results")


def _said(finding: Finding) -> str:
    """The verdict, and for our records on which data mix."""
    place = f" on {finding.setting.partition(';')[0]}" if finding.setting else ""
    return f"{finding.verdict}{place}: {finding.text}"


def lines(statements: Sequence[Statement], width: int) -> Iterator[str]:
    """Statement by statement, for a person."""
    for statement in statements:
        yield from wrap(f"{statement.id}: {statement.statement} ({statement.where})", width)
        parts = [("definition", statement.definition), ("published", _said(statement.published))]
        for name, text in [*parts, *(("ours", _said(finding)) for finding in statement.ours)]:
            yield from wrap(text, width, initial_indent=f"  {name:<11} ", subsequent_indent=" " * 14)
        yield ""
    settings = dict.fromkeys(f.setting for s in statements for f in s.ours if f.setting)
    yield from (f"ours: {setting}" for setting in settings)
    if not settings:
        yield "ours: no records of HyCAM"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the statements, or as JSON; 1 if a record was left out. Without the tables it ends in one line."""
    parser = Parser(prog="python -m hycam_exp.report claims", description=__doc__)
    parser.add_argument("study", nargs="*", help="study=NAME: of results/studies alone; else of all, and of own runs")
    parser.add_argument("--results", type=Path, help="the folder of results; default: results, if it is there")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where a report keeps what is slow")
    parser.add_argument("--published", type=Path, help="another copy of the paper's tables, as in results/published")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.results is not None and not parsed.results.is_dir():
            raise ValueError(f"--results={parsed.results}: no such folder")
        cache = held_in(parsed.outputs)
        experiments = Experiments(cache)
        sources = chosen_sources(parsed.results or RESULTS, parsed.study)
        selections = [select(read(source, experiments), experiments) for source in sources]
        evidence = [mix for selection in selections for mix in gather(selection)]
        statements = found(published.read(parsed.published), evidence, cache)
    except ValueError as error:
        sys.exit(as_errors(error))
    if parsed.json:
        print(json.dumps({"schema_version": SCHEMA_VERSION, "claims": [asdict(s) for s in statements]}, indent=1))
    else:
        print(*lines(statements, shutil.get_terminal_size((120, 24)).columns), sep="\n")
    cache.save()
    problems = [problem for s in selections for problem in (*s.frame.problems, *s.problems)]
    for problem in problems:
        print(as_errors(problem), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
