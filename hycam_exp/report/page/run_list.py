"""The runs as lines of a list: what each is and its mean scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from hycam_exp.evaluation import metrics
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report import titles
from hycam_exp.report.frame import tasks_of
from hycam_exp.report.select import Summary
from hycam_exp.report.tables.table import DASH
from hycam_exp.runs import RunRecord

SCORES = tuple((name, metric, metrics.declared(metric).better) for metric, name in metrics.SCORES.items())


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number as sorted and as shown; None and a dash where there is none."""

    number: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A run in the list."""

    run_id: str
    link: str
    model: str
    method: str
    method_title: str
    data: str
    variant: str
    fold: int
    seed: int | None
    tasks: str
    """Ids of the tasks with scores, with a space between."""
    words: str
    """What a search looks through."""
    scores: tuple[Value, ...]
    retention: Value
    parameters: Value
    seconds: Value


def lines(summaries: Sequence[Summary]) -> Iterator[Line]:
    """Every run, in the order of the summaries and folds."""
    for summary in summaries:
        for record in summary.records:
            yield _line(summary, record)


def task_scores(record: RunRecord) -> dict[str, list[float | None]]:
    """The list's scores of every task and of their mean."""
    return {task: [record.score(m, task) for _, m, _ in SCORES] for task in ("mean", *tasks_of(record))}


def _line(summary: Summary, record: RunRecord) -> Line:
    title = titles.method(summary.method)
    words = " ".join((record.run_id, title, summary.variant, *record.notes))
    return Line(
        run_id=record.run_id,
        link=f"#run={quote(record.run_id, safe='')}",
        model=summary.model,
        method=summary.method,
        method_title=title,
        data=summary.data,
        variant=summary.variant,
        fold=record.config["fold"],
        seed=record.config.get("seed"),
        tasks=" ".join(tasks_of(record)),
        words=words.lower(),
        scores=tuple(_value(record.score(metric, "mean"), ".3f") for _, metric, _ in SCORES),
        retention=_value(record.score("ppl_change", RETENTION), "+.1%"),
        parameters=_value(record.counts["parameters_trainable"], ",d"),
        seconds=_value(sum(record.cost["seconds"].values()), ",.0f"),
    )


def _value(number: float | None, form: str) -> Value:
    return Value(number=number, text=DASH if number is None else format(number, form))
