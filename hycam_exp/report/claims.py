"""`python -m hycam_exp.report claims`: the paper's statements, recomputed from its tables and from our records."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap

from hycam_exp.report import efficiency, evidence, marks, performance, published, records
from hycam_exp.report.expected import Memo
from hycam_exp.report.statement import Finding, Statement
from hycam_exp.report.summary import Summary, summarise

SCHEMA_VERSION = 1
RESULTS = Path("results")


def claims(folder: Path | None, results: Path) -> list[Statement]:
    """Every statement with its verdicts; `folder` holds a copy of the published tables, None the committed ones.

    Raises:
        ValueError: a table or a record cannot be read; names the file.
    """
    collection = records.read(results)
    if collection.problems:
        raise ValueError(str(collection.problems[0]))
    return statements(folder, summarise(collection.records))


def statements(folder: Path | None, summaries: Sequence[Summary], memo: Memo | None = None) -> list[Statement]:
    """The same from summaries of our records."""
    tables, ours = published.read(folder), evidence.gather(summaries, memo)
    return [*performance.statements(tables, ours), *efficiency.statements(ours, memo), *marks.statements(tables)]


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
    """Print the statements, or as JSON; what a user can mend ends in one line on standard error, exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m hycam_exp.report claims", description=__doc__)
    parser.add_argument("--results", type=Path, help="the folder that holds runs/; default: results, if it is there")
    parser.add_argument("--published", type=Path, help="another copy of the paper's tables, as in results/published")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.results is not None and not parsed.results.is_dir():
            raise ValueError(f"--results={parsed.results}: no such folder")
        found = claims(parsed.published, parsed.results or RESULTS)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if parsed.json:
        print(json.dumps({"schema_version": SCHEMA_VERSION, "claims": [asdict(s) for s in found]}, indent=1))
    else:
        print(*lines(found, shutil.get_terminal_size((120, 24)).columns), sep="\n")
    return 0
