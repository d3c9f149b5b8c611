"""Every statement of the paper that is checked, with what its tables and our records say of it."""

from collections.abc import Sequence
from pathlib import Path

from hycam_exp.report import published
from hycam_exp.report.claims import consistency, cost, evidence, scores
from hycam_exp.report.claims.statement import Statement
from hycam_exp.report.experiments import Memo
from hycam_exp.report.select import Summary


def statements(folder: Path | None, summaries: Sequence[Summary], memo: Memo | None = None) -> list[Statement]:
    """Every statement with its verdicts; `folder` holds a copy of the published tables, None the committed ones.

    Raises:
        ValueError: a table cannot be read; names the file.
    """
    tables, ours = published.read(folder), evidence.gather(summaries, memo)
    return [*scores.statements(tables, ours), *cost.statements(ours, memo), *consistency.statements(tables)]
