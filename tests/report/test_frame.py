"""Reading records: what is wrong with one is named, and the rest is read."""

import errno
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from hycam_exp.evaluation.metrics import Declaration, Score
from hycam_exp.records.record import Code, Curves, PeakMemory, RoutingRow, RunRecord
from hycam_exp.records.store import Store
from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.statements import found
from hycam_exp.report.experiments import progress
from hycam_exp.report.figures.catalogue import write_all
from hycam_exp.report.frame import COLUMNS, Frame
from hycam_exp.report.frame import read as read_source
from hycam_exp.report.page import PageContent, document, sample_texts
from hycam_exp.report.published import read as read_published
from hycam_exp.report.select import row_cells, select
from hycam_exp.report.sources import RecordSource, chosen_sources, sources
from hycam_exp.report.tables.build import build
from hycam_exp.report.tables.means import means
from hycam_exp.report.tables.text import contents
from tests.made import COUNTS
from tests.report.page.page_content import record as whole
from tests.report.toy import frame_of, known_experiments, record, run_of

Break = Callable[[dict[str, Any]], object]


def read(results: Path) -> Frame:
    return read_source(RecordSource.own(results), known_experiments())


def records(frame: Frame) -> list[RunRecord]:
    return [run.record for run in frame.runs]


def _score(fields: dict[str, Any], value: object) -> None:
    fields["scores"][0]["value"] = value


def _add(fields: dict[str, Any], task: str, metric: str, value: float | None) -> None:
    fields["scores"].append({"task": task, "metric": metric, "value": value, "n": 1})


PLAIN = "must be a plain name: letters, digits, '.', '_' and '-', at most 80, and no '.' in front"


def _named(group: str, name: str) -> str:
    return f"config.{group}.name={name}: {PLAIN}"


def check_named(results: Path, change: Break, reason: str) -> None:
    """The record of fold 0 is changed in its file: it alone is not read, and it is named."""
    Store(results / "runs", results).write(record(1, 3.0))
    fields = asdict(record(0, 2.0))
    change(fields)
    path = results / "runs" / f"{record(0, 2.0).run_id}.json"
    path.write_text(json.dumps(fields))
    frame = read(results)
    assert records(frame) == [record(1, 3.0)]
    assert [str(problem) for problem in frame.problems] == [f"{path}: {reason}"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda f: _score(f, "much"), "Expected `float | null`, got `str` - at `$.scores[0].value`"),
        (lambda f: _score(f, 10**400), "Number out of range - at `$.scores[0].value`"),
        (
            lambda f: f["curves"].update(train=[{"step": 1, "loss": None}]),
            "Expected `float`, got `null` - at `$.curves.train[0][...]`",
        ),
        (lambda f: f["cost"].update(seconds=None), "Expected `object`, got `null` - at `$.cost.seconds`"),
        (lambda f: f.update(notes=None), "Expected `array`, got `null` - at `$.notes`"),
        (lambda f: f.update(code=None), "Expected `object`, got `null` - at `$.code`"),
        (lambda f: f.update(routing=[{"layer": "a"}]), "Object missing required field `task` - at `$.routing[0]`"),
        (lambda f: f.pop("scores"), "Object missing required field `scores`"),
        (lambda f: f["config"].pop("seed"), "Object missing required field `seed` - at `$.config`"),
        (lambda f: f["config"].pop("fold"), "Object missing required field `fold` - at `$.config`"),
        (lambda f: f["config"].update(fold="a"), "Expected `int`, got `str` - at `$.config.fold`"),
        (lambda f: f["config"].update(model={}), "Object missing required field `name` - at `$.config.model`"),
        (
            lambda f: f.update(schema_version=99),
            "schema version 99 is newer than this software's 2: update hycam_exp to read it",
        ),
        (
            lambda f: f.update(schema_version=1),
            "schema version 1 is older than this software's 2: its results cannot be compared with today's",
        ),
    ],
)
def test_a_record_that_is_not_whole_is_named(tmp_path: Path, change: Break, fault: str) -> None:
    """With its file, the field's place, and the way out; the others are read."""
    check_named(tmp_path, change, f"not a whole run record ({fault}); move it away to run the cell again")


@pytest.mark.parametrize(("value", "written"), [(math.nan, b"NaN"), (math.inf, b"Infinity")])
@pytest.mark.parametrize(
    "place",
    [
        lambda f, value: _score(f, value),
        lambda f, value: f["cost"]["seconds"].update(train=value),
        lambda f, value: f["curves"].update(train=[{"step": 1, "norm": 1.0}, {"step": 2, "norm": value}]),
        lambda f, value: f["config"]["method"].update(tau=value),
    ],
)
def test_a_number_that_is_not_finite_is_named(
    tmp_path: Path, place: Callable[[dict[str, Any], float], object], value: float, written: bytes
) -> None:
    """It is no JSON: named by its byte in the file."""
    fields = asdict(record(0, 2.0))
    place(fields, value)
    byte = json.dumps(fields).encode().index(written)
    fault = f"JSON is malformed: invalid character (byte {byte})"
    check_named(
        tmp_path, lambda f: place(f, value), f"not a whole run record ({fault}); move it away to run the cell again"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f["config"].update(fold=5), "config.fold=5: must be in 0..4"),
        (lambda f: f.update(run_id="other"), "holds the record of other"),
        (lambda f: _score(f, -3.0), "the score ppl of mean is -3, must be at least 1"),
        (lambda f: _add(f, "dolly", "bleu4", 58.0), "the score bleu4 of dolly is 58, must be in 0..1"),
        (
            lambda f: _add(f, "dolly", "rouge_l_before", -0.5),
            "the score rouge_l_before of dolly is -0.5, must be in 0..1",
        ),
        (lambda f: f["curves"].update(train=[{"loss": 1.0}]), "has no curves.train[0].step"),
        (
            lambda f: f["curves"].update(validation=[{"step": 1, "loss": 1.0}, {"step": 2}]),
            "has no curves.validation[1].loss",
        ),
        (
            lambda f: f.update(routing=[{"layer": "a", "task": "b", "tokens": 1, "weights": [], "entropy": 0.5}]),
            "has no weights in routing[0]",
        ),
        (lambda f: _add(f, "mean", "ppl", 2.5), "the score ppl of mean stands in it 2 times"),
        (lambda f: _add(f, "dolly", "ppl", 2.5), "the score ppl of mean is 2, the mean of its tasks 2.5"),
        (lambda f: f["config"]["model"].update(name="../../../etc/x"), _named("model", "../../../etc/x")),
        (lambda f: f["config"]["method"].update(name=".."), _named("method", "..")),
        (lambda f: f["config"]["data"].update(name="x" * 81), _named("data", "x" * 80 + "...")),
        (lambda f: f["config"]["data"].update(tasks=["../x"]), f"a task of config.data.tasks=../x: {PLAIN}"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, change: Break, reason: str) -> None:
    """With its file and the reason; the others are read."""
    check_named(tmp_path, change, reason)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"schema_version": 1}', b"\xff\xfe", b"null"])
def test_a_truncated_file_is_named(tmp_path: Path, content: bytes) -> None:
    """Whatever is left of it."""
    path = tmp_path / "runs" / "broken.json"
    path.parent.mkdir()
    path.write_bytes(content)
    (problem,) = read(tmp_path).problems
    assert str(problem).startswith(f"{path}: not a whole run record (")


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to nothing, a folder, and what the file system refuses; the others are read."""
    Store(tmp_path / "runs", tmp_path).write(record(1, 3.0))
    runs = tmp_path / "runs"
    (runs / "link.json").symlink_to(tmp_path / "nowhere")
    (runs / "folder.json").mkdir()
    (runs / "refused.json").write_text("{}")
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "refused.json":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    collection = read(tmp_path)
    assert records(collection) == [record(1, 3.0)]
    assert [str(problem) for problem in collection.problems] == [
        f"{runs}/folder.json: is no file, or a link to none",
        f"{runs}/link.json: is no file, or a link to none",
        f"{runs}/refused.json: cannot be read: Permission denied",
    ]


def test_two_records_of_one_cell_are_both_left_out(tmp_path: Path) -> None:
    """Nothing says which of them to believe; each is named with the other."""
    store = Store(tmp_path / "runs", tmp_path)
    first, second = record(0, 2.0), record(0, 3.0)
    object.__setattr__(second, "run_id", "second")
    for one in (first, second, record(1, 2.5)):
        store.write(one)
    collection = read(tmp_path)
    assert [run.fold for run in collection.runs] == [1]
    assert [problem.reason for problem in collection.problems] == [
        "the same cell as second; move all but one away",
        f"the same cell as {first.run_id}; move all but one away",
    ]


def test_an_empty_folder_is_no_problem(tmp_path: Path) -> None:
    """There is nothing to read, and nothing wrong."""
    assert read(tmp_path).runs == read(tmp_path).problems == ()


def test_the_tasks_of_a_run_are_in_its_configs_order() -> None:
    """Means, pooled scores and general text are no tasks; a task that the config does not name comes last."""
    scored = ("mean", "web_gpt", "dolly", "other", "pooled", "retention")
    run = record(0, 2.0, data={"name": "mini", "tasks": ["dolly", "auto_cot", "web_gpt"]})
    scores = [Score(task=task, metric="ppl", value=2.0, n=1) for task in scored]
    assert run_of(replace(run, scores=scores)).tasks == ["dolly", "web_gpt", "other"]


def test_a_task_without_a_score_leaves_no_mean(tmp_path: Path) -> None:
    """A mean over the others would not be the mean of its tasks; no mean is right."""
    run = record(0, 2.0)
    more = [Score(task=task, metric="ppl", value=value, n=1) for task, value in (("dolly", 2.0), ("web_gpt", None))]
    Store(tmp_path / "runs", tmp_path).write(replace(run, scores=[*run.scores, *more]))
    Store(tmp_path / "runs", tmp_path).write(replace(record(1, None), scores=[*record(1, None).scores, *more]))
    collection = read(tmp_path)
    assert [run.fold for run in collection.runs] == [1]
    assert [problem.reason for problem in collection.problems] == ["the score ppl of mean is 2, and a task has none"]


def test_of_two_versions_the_newest_alone_is_reported(tmp_path: Path) -> None:
    """The older ones are named, all in one line, and the way out."""
    for fold in range(5):
        Store(tmp_path / "runs", tmp_path).write(record(fold, 2.0, version=1 if fold < 4 else 2))
    collection = read(tmp_path)
    assert [run.fold for run in collection.runs] == [4]
    (problem,) = collection.problems
    assert str(problem) == (
        f"{tmp_path / 'runs'}: left out: 4 of results version 1 (m-lora-f0-s0-1.0, m-lora-f1-s0-1.0, m-lora-f2-s0-1.0,"
        " ...), which never stand beside those of version 2; move them to a folder of their own"
    )


def test_a_metric_of_another_version_is_named(tmp_path: Path) -> None:
    """In one record, against what most records have: its numbers are of another definition."""
    for fold in range(3):
        metrics = {"ppl": Declaration(better="lower", aggregation="a", version="2" if fold == 1 else "1")}
        Store(tmp_path / "runs", tmp_path).write(replace(record(fold, 2.0), metrics=metrics))
    collection = read(tmp_path)
    assert [run.fold for run in collection.runs] == [0, 2]
    (problem,) = collection.problems
    assert problem.reason == "its ppl is another metric (lower; a; 2) than that of most (lower; a; 1)"


def sampled(results: Path, change: Callable[[dict[str, list[Any]]], object]) -> tuple[Frame, str]:
    """What is read of a run whose samples file was changed, and the file's name."""
    columns: dict[str, list[Any]] = {
        "task": ["a", "a", "b"], "id": ["1", "2", "3"], "group": ["1", "2", "3"], "nats": [1.0, 2.0, 3.0],
        "tokens": [2, 2, 3],
    }  # fmt: skip
    ppl = {"a": math.exp(3 / 4), "b": math.exp(1.0)}
    scores = [Score(task=task, metric="ppl", value=value, n=len(task) + (task == "a")) for task, value in ppl.items()]
    scores.append(Score(task="mean", metric="ppl", value=sum(ppl.values()) / 2, n=2))
    scores.append(Score(task="pooled", metric="ppl", value=math.exp(6 / 7), n=3))
    run = replace(record(0, None), scores=scores)
    Store(results / "runs", results).write(run)
    change(columns)
    path = RecordSource.own(results).samples(run.run_id)
    pq.write_table(pa.table(columns), path)
    return read(results), path.name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c, None),
        (lambda c: c.update(nats=[0.5, 1.0, 1.5]), "the score ppl of a is 2.11700002, its samples give 1.45499141"),
        (lambda c: [c[name].append(c[name][0]) for name in c], "a record 1 stands in it twice"),
        (lambda c: c.update(nats=[math.nan, 2.0, 3.0]), "a record 1 has nats nan over 2 tokens"),
        (lambda c: c.update(tokens=[2, 0, 3]), "a record 2 has nats 2 over 0 tokens"),
        (lambda c: [c[name].append(value) for name, value in zip(c, ("b", "4", "4", 3.0, 3), strict=True)],
         "the score ppl of b is over 1, its samples are 2"),
    ],
)  # fmt: skip
def test_scores_follow_from_the_samples(tmp_path: Path, change: Callable[[Any], object], reason: str | None) -> None:
    """Halved nats, doubled rows, nats that are no number, a record that was not counted: the record is named."""
    collection, name = sampled(tmp_path, change)
    assert [problem.reason for problem in collection.problems] == ([f"{name}: {reason}"] if reason else [])
    assert len(collection.runs) == (0 if reason else 1)


def test_the_frame_has_a_line_for_each_score() -> None:
    """With what its run is and cost; what is absent is null, and nothing else is."""
    scores = frame_of([record(0, 2.0), record(1, None, clip=None)]).scores
    assert tuple(scores.columns) == COLUMNS
    assert scores["run"].tolist() == ["m-lora-f0-s0-1.0", "m-lora-f1-s0-None"]
    first = scores.iloc[0]
    assert (first["model"], first["method"], first["data"], first["fold"], first["seed"]) == ("m", "lora", "mini", 0, 0)
    assert (first["task"], first["metric"], first["value"], first["n"]) == ("mean", "ppl", 2.0, 2)
    assert (first["parameters"], first["seconds"], first["train_seconds"]) == (7, 3.0, 2.0)
    assert scores["value"].isna().tolist() == [False, True]
    assert scores["variant"].tolist() == ["recipe.clip=1.0", "recipe.clip=null"]
    assert (first["memory"], first["memory_kind"], first["device"]) == (1, "rss", "a processor")


def test_studies_and_own_runs_are_sources_of_their_own(tmp_path: Path) -> None:
    """Each with its own folder for what is made of it; without any study the own runs, though there are none."""
    assert sources(tmp_path) == [RecordSource(tmp_path / "runs", tmp_path / "report")]
    for name in ("b", "a"):
        (tmp_path / "studies" / name / "records").mkdir(parents=True)
    studies = [RecordSource(tmp_path / "studies" / n / "records", tmp_path / "studies" / n) for n in ("a", "b")]
    assert sources(tmp_path) == studies
    Store(tmp_path / "runs", tmp_path).write(record(0, 2.0))
    assert sources(tmp_path) == [*studies, RecordSource.own(tmp_path)]
    assert chosen_sources(tmp_path, ["study=b"]) == studies[1:]
    assert sources(tmp_path / "studies" / "a") == [
        RecordSource(tmp_path / "studies" / "a" / "records", tmp_path / "studies" / "a")
    ]
    with pytest.raises(ValueError, match=r"^study=c: no folder .*records; the studies there are: a, b$"):
        chosen_sources(tmp_path, ["study=c"])
    for name in ("..", "../studies/a"):
        with pytest.raises(ValueError, match=rf"^study={name}: must be a plain name"):
            chosen_sources(tmp_path, [f"study={name}"])
    with pytest.raises(ValueError, match="argument=mini: must be one of study="):
        chosen_sources(tmp_path, ["mini"])


def empty(run: RunRecord) -> RunRecord:
    """It with nothing in what may be empty, and null where null may be."""
    return replace(
        run, scores=[], metrics={}, curves=Curves(train=[], validation=[]), routing=[], notes=[], weights=None,
        versions={}, code=Code(commit=None, dirty=None), data=replace(run.data, files=[]),
        counts=replace(run.counts, records={}, rejected={}, chosen={}, too_long_ids=[]),
        cost=replace(run.cost, seconds={}, hardware=replace(run.cost.hardware, cpus=None)),
        fit=replace(run.fit, clipped_share=None, step_task_entropy=None, padding_share=None),
    )  # fmt: skip


def unscored(run: RunRecord) -> RunRecord:
    """It with no value in any score."""
    return replace(run, scores=[replace(score, value=None) for score in run.scores])


def extreme(run: RunRecord) -> RunRecord:
    """It with numbers at the ends of what a float or a count can be, and names of no sign."""
    counts = replace(run.counts, parameters_trainable=0, parameters_total=10**18, records={"other": COUNTS})
    cost = replace(run.cost, seconds={"other": 1e308}, peak_memory=PeakMemory(kind="", bytes=0))
    return replace(
        run, counts=counts, cost=cost, fit=replace(run.fit, steps=0, best_validation_loss=1e308),
        curves=Curves(train=[{"step": 0.0, "loss": 1e308}], validation=[{"step": 0.0, "loss": 0.0}]),
        routing=[RoutingRow(layer="", task="", tokens=0.0, weights=[0.0], entropy=0.0)],
    )  # fmt: skip


def other_settings(run: RunRecord) -> RunRecord:
    """It with settings of names alone, and of no task."""
    names = {group: {"name": run.config[group]["name"]} for group in ("model", "method", "recipe", "trainer")}
    return replace(run, config={**names, "data": {"name": "mini", "tasks": []}, "fold": 0, "seed": 0})


@pytest.mark.parametrize(
    "change", [extreme, other_settings, *(pytest.param(change, marks=pytest.mark.slow) for change in (empty, unscored))]
)
def test_nothing_that_a_record_may_hold_ends_a_report(tmp_path: Path, change: Callable[[RunRecord], RunRecord]) -> None:
    """Tables, grids, claims, figures, means and the page of a record of every right type are made, or it is named."""
    store, experiments = Store(tmp_path / "runs", tmp_path), known_experiments()
    for one in (whole("lora", 0), whole("hycam", 1), change(whole("hycam", 0))):
        store.write(one)
    frame = read(tmp_path)
    assert [run.id for run in frame.runs] == sorted(path.stem for path in (tmp_path / "runs").glob("*.json"))
    assert not frame.problems
    selection = select(frame, experiments)
    for table in build(selection, experiments).tables:
        contents(table)
    means(selection, Console(file=io.StringIO()))
    grids = progress(experiments, row_cells(selection, experiments))
    claims = found(read_published(), gather(selection), experiments.cache)
    samples = sample_texts.read(frame.source, [run.id for run in frame.runs])
    document(PageContent(source=frame.source, rows=selection.rows, samples=samples, grids=grids, claims=claims))
    write_all(selection, tmp_path / "figures", processes=1)
    assert len(frame.scores) == sum(len(run.record.scores) for run in frame.runs)
