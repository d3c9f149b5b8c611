"""What a column shows of a row's records: a score, trained parameters, seconds."""

from dataclasses import dataclass

from hycam_exp.config import NUM_FOLDS
from hycam_exp.evaluation import metrics
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.match import Match
from hycam_exp.report.select import Summary, mean_of, spread_of
from hycam_exp.report.tables.table import Cell, Column


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column without its group."""

    name: str
    metric: str
    """A metric of `METRICS`, or parameters, or seconds."""
    task: str = "mean"
    digits: str = ".3f"

    @property
    def is_score(self) -> bool:
        """A metric with a direction, of the tasks."""
        return self.metric in metrics.METRICS and self.task != RETENTION

    def column(self, group: str) -> Column:
        """The column of a group."""
        better = metrics.declared(self.metric).better if self.metric in metrics.METRICS else "none"
        return Column(group=group, name=self.name, better=better, digits=self.digits)

    def values(self, summary: Summary, task: str | None = None) -> list[float | None]:
        """The value of every fold."""
        if self.metric == "parameters":
            return [record.counts["parameters_trainable"] for record in summary.records]
        if self.metric == "seconds":
            return [sum(record.cost["seconds"].values()) for record in summary.records]
        return summary.values(self.metric, task or self.task)

    def cell(self, match: Match, task: str | None = None) -> Cell:
        """The cell of a row; without records a dash with the command that makes them, unless they were refused."""
        if match.summary is None:
            command = None if match.refused else match.expected.missing(())
            return Cell(folds=0, num_folds=NUM_FOLDS, note=note_of(match), command=command)
        values = self.values(match.summary, task)
        mean, note = mean_of(values), note_of(match)
        if mean is None:
            note = "; ".join(filter(None, (note, f"no {self.name} in some record")))
        whole = {value for value in values if value is not None}
        constant = self.metric == "parameters" and len(whole) == 1
        return Cell(
            value=whole.pop() if constant else mean,
            spread=None if constant else spread_of(values),
            folds=len(values),
            num_folds=NUM_FOLDS,
            note=note,
            command=match.expected.missing(match.summary.folds) if not match.variant else None,
            is_mixed=match.mixed is not None,
        )


SCORES = tuple(Measure(name=name, metric=metric) for metric, name in metrics.SCORES.items())
PPL = next(measure for measure in SCORES if measure.metric == "ppl")
PARAMETERS = Measure(name="trained parameters", metric="parameters", digits=",.0f")
GENERAL_TEXT = Measure(name="general text PPL", metric="ppl_change", task=RETENTION, digits="+.1%")
SECONDS = Measure(name="seconds", metric="seconds", digits=".0f")


def note_of(match: Match) -> str | None:
    """What a reader must know of a row."""
    texts = (
        f"refused: {match.refused}" if match.refused else match.note,
        f"mixed: {match.mixed}" if match.mixed else None,
    )
    return "; ".join(filter(None, texts)) or None
