"""Reading records: what is wrong with one is named, and the rest is read."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.report.frame import read, tasks_of
from hycam_exp.runs import Score, Store
from tests.report.toy import record

Break = Callable[[dict[str, Any]], object]


def _score(fields: dict[str, Any], value: object) -> None:
    fields["scores"][0]["value"] = value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: _score(f, float("nan")), "the score ppl of mean is nan"),
        (lambda f: _score(f, float("inf")), "the score ppl of mean is inf"),
        (lambda f: _score(f, "much"), 'the score ppl of mean is "much", must be a number'),
        (lambda f: _score(f, 10**400), f"the score ppl of mean is 1{'0' * 59}..., must be a number"),
        (lambda f: f["cost"]["seconds"].update(train=float("nan")), "cost.seconds.train is nan"),
        (lambda f: f["curves"].update(train=[{"step": 1, "loss": float("nan")}]), "curves.train[0].loss is nan"),
        (
            lambda f: f["curves"].update(
                train=[{"step": 1, "loss": 1.0, "norm": None}, {"step": 2, "loss": 1.0, "norm": float("inf")}]
            ),
            "curves.train[1].norm is inf",
        ),
        (
            lambda f: f["curves"].update(train=[{"step": 1, "loss": None}]),
            "curves.train[0].loss is null, must be a number",
        ),
        (lambda f: f["curves"].update(train=[{"loss": 1.0}]), "has no curves.train[0].step"),
        (lambda f: f["config"]["method"].update(tau=float("nan")), "config.method.tau is nan"),
        (lambda f: f["config"].pop("seed"), "has no config.seed"),
        (lambda f: f["cost"].update(seconds=None), "cost.seconds is null, must be a mapping"),
        (lambda f: f.update(notes=None), "notes is null, must be a list"),
        (lambda f: f.update(routing=[{"layer": "a"}]), "has no routing[0].task"),
        (lambda f: f.update(schema_version=99), "schema version 99 is newer than this software's 1"),
        (lambda f: f.pop("scores"), "not a whole run record ('scores'); move it away to run the cell again"),
        (lambda f: f["config"].pop("fold"), "has no config.fold"),
        (lambda f: f["config"].update(fold=5), "config.fold=5: must be in 0..4"),
        (lambda f: f["config"].update(model={}), "has no config.model.name"),
        (lambda f: f.update(code=None), "code is null, must be a mapping"),
        (lambda f: f.update(run_id="other"), "holds the record of other"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, change: Break, reason: str) -> None:
    """With its file and the reason; the others are read."""
    Store(tmp_path, tmp_path).write(record(1, 3.0))
    fields = asdict(record(0, 2.0))
    change(fields)
    path = tmp_path / "runs" / f"{record(0, 2.0).run_id}.json"
    path.write_text(json.dumps(fields))
    collection = read(tmp_path)
    assert collection.records == [record(1, 3.0)]
    assert [str(problem) for problem in collection.problems] == [f"{path}: {reason}"]


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
    Store(tmp_path, tmp_path).write(record(1, 3.0))
    runs = tmp_path / "runs"
    (runs / "link.json").symlink_to(tmp_path / "nowhere")
    (runs / "folder.json").mkdir()
    (runs / "refused.json").write_text("{}")
    read_text = Path.read_text

    def refuse(path: Path, **how: Any) -> str:
        if path.name == "refused.json":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read_text(path, **how)

    monkeypatch.setattr(Path, "read_text", refuse)
    collection = read(tmp_path)
    assert collection.records == [record(1, 3.0)]
    assert [str(problem) for problem in collection.problems] == [
        f"{runs}/folder.json: is no file, or a link to none",
        f"{runs}/link.json: is no file, or a link to none",
        f"{runs}/refused.json: cannot be read: Permission denied",
    ]


def test_two_records_of_one_cell_are_both_left_out(tmp_path: Path) -> None:
    """Nothing says which of them to believe; each is named with the other."""
    store = Store(tmp_path, tmp_path)
    first, second = record(0, 2.0), record(0, 3.0)
    object.__setattr__(second, "run_id", "second")
    for one in (first, second, record(1, 2.5)):
        store.write(one)
    collection = read(tmp_path)
    assert [r.config["fold"] for r in collection.records] == [1]
    assert [problem.reason for problem in collection.problems] == [
        "the same cell as second; move all but one away",
        f"the same cell as {first.run_id}; move all but one away",
    ]


def test_an_empty_folder_is_no_problem(tmp_path: Path) -> None:
    """There is nothing to read, and nothing wrong."""
    assert read(tmp_path).records == read(tmp_path).problems == []


def test_the_tasks_of_a_run_are_in_its_configs_order() -> None:
    """Means, pooled scores and general text are no tasks; a task that the config does not name comes last."""
    scored = ("mean", "web_gpt", "dolly", "other", "pooled", "retention")
    run = record(0, 2.0, data={"name": "mini", "tasks": ["dolly", "auto_cot", "web_gpt"]})
    scores = [Score(task=task, metric="ppl", value=2.0, n=1) for task in scored]
    assert tasks_of(replace(run, scores=scores)) == ["dolly", "web_gpt", "other"]
