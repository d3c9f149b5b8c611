"""The stars of a table: HyCAM against the best PEFT baseline in every column, corrected for the number of columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hycam_exp.report.baselines import is_peft_baseline
from hycam_exp.report.claims.scoreboard import OURS
from hycam_exp.report.match import Match
from hycam_exp.report.select import Summary
from hycam_exp.report.titles import method as title

if TYPE_CHECKING:
    from hycam_exp.report.statistics.bootstrap import Resampled
    from hycam_exp.report.statistics.resampling import Resampling
    from hycam_exp.report.statistics.significance import Comparison


@dataclass(frozen=True)
class Star:
    """What a column's comparison gave; `reason` says why there is no star, and is empty where there is no record."""

    corrected: bool = False
    uncorrected: bool = False
    reason: str | None = None
    comparison: "Comparison | None" = None
    """None where nothing could be compared."""
    resampled: "Resampled | None" = None
    """The same over test samples; None where it was not asked for, or is not defined."""


@dataclass(frozen=True)
class Contest:
    """One column to test: its rows by method, and the score."""

    rows: Mapping[str, Match]
    metric: str
    task: str


def stars(tests: Sequence[Contest], resampling: "Resampling | None" = None) -> list[Star]:
    """A star for every column of one table, with what it rests on."""
    from hycam_exp.report.statistics.significance import compare, with_holm

    obstacles = [_obstacle(test) for test in tests]
    made = [
        compare(_summary(test.rows[OURS]), [_summary(m) for m in _baselines(test).values()], test.metric, test.task)
        for test, obstacle in zip(tests, obstacles, strict=True)
        if obstacle is None
    ]
    found = iter(with_holm(made))
    return [
        _star(test, next(found), resampling) if obstacle is None else Star(reason=obstacle)
        for test, obstacle in zip(tests, obstacles, strict=True)
    ]


def _star(test: Contest, comparison: "Comparison", resampling: "Resampling | None") -> Star:
    star = Star(comparison.star, comparison.uncorrected_star, comparison.reason)
    if comparison.difference is None:
        return star
    rivals = {summary.label: summary for summary in map(_summary, _baselines(test).values())}
    pair = _summary(test.rows[OURS]), rivals[str(comparison.baseline)]
    resampled = resampling.compare(*pair, test.metric, test.task) if resampling else None
    return replace(star, comparison=comparison, resampled=resampled)


def _baselines(test: Contest) -> dict[str, Match]:
    """The rows that the star is against."""
    return {name: m for name, m in test.rows.items() if is_peft_baseline(name)}


def _obstacle(test: Contest) -> str | None:
    """Why nothing can be tested: no row of ours, a missing baseline, or records that the user mixed."""
    if OURS not in test.rows:
        return ""
    compared = {name: m for name, m in test.rows.items() if name == OURS} | _baselines(test)
    absent = [title(name) for name, m in compared.items() if m.summary is None]
    if len(absent) == len(compared):
        return ""
    if absent:
        return f"{', '.join(absent)} missing"
    mixed = [title(name) for name, m in compared.items() if m.mixed]
    return f"{', '.join(mixed)} mixed" if mixed else None


def _summary(match: Match) -> Summary:
    assert match.summary is not None, "an obstacle otherwise"
    return match.summary
