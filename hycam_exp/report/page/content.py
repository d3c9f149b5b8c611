"""What the page shows, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hycam_exp.report.claims.statements import Statement
from hycam_exp.report.experiments import Progress
from hycam_exp.report.frame import Problem
from hycam_exp.report.page.sample_texts import SampleTexts
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """Everything on the page."""

    source: RecordSource
    rows: Sequence[SelectedRow]
    samples: SampleTexts
    """Of every run of the rows."""
    tables: Sequence[Table] = ()
    figures: Sequence[Path] = ()
    """PNG files; a CSV of the same name beside one is its data."""
    missing_figures: Sequence[tuple[str, str]] = ()
    """A figure's name, and the command that makes its records."""
    grids: Sequence[Progress] = ()
    problems: Sequence[Problem] = ()
    claims: Sequence[Statement] = ()
