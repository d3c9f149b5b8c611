"""What a finished cell prints: one table, what it cost, and where things lie."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from hycam_exp.data.records import Rejection
from hycam_exp.data.sources import rejection_counts
from hycam_exp.evaluation.metrics import AGGREGATES, SCORES
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.records.record import RunRecord
from hycam_exp.records.store import Store
from hycam_exp.runtime import terminal
from hycam_exp.runtime.command_line import visible

PARTS = ("train", "validation", "test")


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _table(record: RunRecord, break_: str = " ") -> Table:
    """Task by PPL before and after, BLEU-4 and ROUGE-L; before adaptation too where it was decoded.

    `break_` stands between the words of a heading.
    """
    columns = [column for m, name in SCORES.items() for column in ((f"{name} before", f"{m}_before"), (name, m))]
    measured = {s.metric for s in record.scores}
    columns = [(title, metric) for title, metric in columns if metric in measured or not metric.endswith("_before")]
    table = Table(title=record.run_id, title_justify="left")
    table.add_column("task", min_width=12)
    terminal.numbers(table, *(title.replace(" ", break_) for title, _ in columns))
    tasks = record.config["data"]["tasks"]
    for task in [*tasks, *AGGREGATES]:
        table.add_row(
            _row_name(record, task, len(tasks)), *(_number(record.score(metric, task)) for _, metric in columns)
        )
    return table


def _row_name(record: RunRecord, task: str, tasks: int) -> str:
    """A mean that is not over all tasks says so: a task without a record in the test split has no score."""
    over = next((s.n for s in record.scores if (s.task, s.metric) == (task, "ppl")), tasks)
    return task if task != "mean" or over == tasks else f"mean of {over}/{tasks}"


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    """Retention, training, cost and data, a line each."""
    old, new = (record.score(metric, RETENTION) for metric in ("ppl_before", "ppl"))
    change = record.score("ppl_change", RETENTION)
    counts, fit, seconds = record.counts, record.fit, record.cost.seconds
    trainable, total = counts.parameters_trainable, counts.parameters_total
    memory = record.cost.peak_memory
    stopped = ", stopped early" if fit.stopped_early else ""
    records = counts.records.values()
    lost = sum(r.rejected + r.too_long for r in records)
    cut = sum(getattr(r, f"{part}_truncated") for r in records for part in PARTS)
    return [
        ("general text PPL", "not measured" if change is None else f"{old:.3f} -> {new:.3f} ({change:+.1%})"),
        ("trainable parameters", f"{trainable:,} of {total:,} ({trainable / total:.2%})"),
        (
            "best validation loss",
            f"{fit.best_validation_loss:.4f} at step {fit.best_step} of {fit.steps}{stopped}",
        ),
        ("seconds", f"{sum(seconds.values()):.1f}: " + ", ".join(f"{k} {v:.1f}" for k, v in seconds.items())),
        ("peak memory", f"{memory.bytes / 2**20:,.0f} MiB ({memory.kind})"),
        ("records", f"{sum(r.rows for r in records):,} read, {lost:,} rejected, {cut:,} truncated"),
        ("split", ", ".join(f"{part} {sum(getattr(r, part) for r in records):,}" for part in PARTS)),
    ]


def finished(record: RunRecord, store: Store, remark: str | None = None) -> None:
    """Print a finished cell."""
    console = Console(markup=False, emoji=False, highlight=False)
    terminal.show(console, _table(record), _table(record, "\n"))
    for name, value in _facts(record):
        console.print(f"{name:>21}: {value}", soft_wrap=True)
    for note in [*record.notes, *([remark] if remark else [])]:
        console.print(f"{'note':>21}: {note}", soft_wrap=True)
    folder = store.folder(record.run_id)
    places = {"record": store.record_path(record.run_id), "adapter": folder / "adapter"}
    if any(score.metric == "bleu4" for score in record.scores):
        places["predictions"] = folder / "predictions"
    for name, path in places.items():
        console.print(f"{name:>21}: {path}", soft_wrap=True)


def note(text: str) -> None:
    """Print what a user should know before training."""
    Console(stderr=True, markup=False, emoji=False, highlight=False).print(f"note: {visible(text)}", soft_wrap=True)


def rejections(found: Sequence[Rejection], shown: int = 3) -> None:
    """Print how many rows were rejected for each reason, and where the first of them are."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    for reason, count in rejection_counts(found).items():
        places = [f"{r.source}:{r.line}" for r in found if f"{r.task}: {r.reason}" == reason]
        more = ", ..." if len(places) > shown else ""
        console.print(visible(f"rejected {count} rows, {reason} ({', '.join(places[:shown])}{more})"), soft_wrap=True)
