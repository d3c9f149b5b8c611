"""The runs as lines of a list: what each is and its mean scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from hycam_exp.evaluation.metrics import SCORES as TITLES
from hycam_exp.evaluation.metrics import declared
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report import titles
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.tables.table import DASH

SCORES = tuple((name, metric, declared(metric).better) for metric, name in TITLES.items())


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number as sorted and as shown; None and a dash where there is none."""

    number: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class RunLine:
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


def lines(rows: Sequence[SelectedRow]) -> Iterator[RunLine]:
    """Every run, in the order of the rows and folds."""
    for row in rows:
        for run in (*row.runs, *row.further):
            yield _line(row, run)


def task_scores(run: FinishedRun) -> dict[str, list[float | None]]:
    """The list's scores of every task and of their mean."""
    return {task: [run.score(m, task) for _, m, _ in SCORES] for task in ("mean", *run.tasks)}


def _line(row: SelectedRow, run: FinishedRun) -> RunLine:
    title = titles.method(row.method)
    words = " ".join((run.id, title, row.variant_text, *run.record.notes))
    return RunLine(
        run_id=run.id,
        link=f"#run={quote(run.id, safe='')}",
        model=row.model,
        method=row.method,
        method_title=title,
        data=row.data,
        variant=row.variant_text,
        fold=run.fold,
        seed=run.seed,
        tasks=" ".join(run.tasks),
        words=words.lower(),
        scores=tuple(_value(run.score(metric), ".3f") for _, metric, _ in SCORES),
        retention=_value(run.score("ppl_change", RETENTION), "+.1%"),
        parameters=_value(run.parameters, ",d"),
        seconds=_value(run.seconds, ",.0f"),
    )


def _value(number: float | None, form: str) -> Value:
    return Value(number=number, text=DASH if number is None else titles.number(number, form))
