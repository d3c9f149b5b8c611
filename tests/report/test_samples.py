"""Reading samples files, whole and damaged."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hycam_exp.report.samples import Samples, read_table


def written(folder: Path) -> Path:
    path = folder / "r.samples.parquet"
    pq.write_table(pa.table({"task": ["a"] * 500, "id": [str(n) for n in range(500)], "tokens": range(500)}), path)
    return path


def test_the_columns_that_are_asked_for_come(tmp_path: Path) -> None:
    """In the file's order: the needed ones, and of the wanted ones those that are there; else all."""
    path = written(tmp_path)
    assert read_table(path, ["id"], ["task", "absent"]).column_names == ["task", "id"]
    assert read_table(path, ["id"]).column_names == ["task", "id", "tokens"]
    with pytest.raises(ValueError, match=r"r\.samples\.parquet: no column group, nats"):
        read_table(path, ["nats", "group", "id"])


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_file_is_named(tmp_path: Path, place: int) -> None:
    """Cut off at the end, or with other bytes in its head or among its pages."""
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if place < 0 else b"x" * 20 + whole[20:] if place == 0 else whole[:4] + b"\xff" * place)
    with pytest.raises(ValueError, match=r"r\.samples\.parquet: no samples file"):
        read_table(path, ["id"])


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("nats", ["a"], "column nats is string, must be numbers"),
        ("prediction", [1], "column prediction is int64, must be texts"),
        ("capped", ["no"], "column capped is string, must be yes or no"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, name: str, values: list[object], reason: str) -> None:
    """With its type and the one that it must have; one of nulls alone is of any type."""
    path = tmp_path / "r.samples.parquet"
    pq.write_table(pa.table({"task": pa.array(["a"]).dictionary_encode(), name: values}), path)
    with pytest.raises(ValueError, match=rf"r\.samples\.parquet: {reason}"):
        read_table(path, ["task"])
    pq.write_table(pa.table({"task": ["a"], name: [None]}), path)
    assert read_table(path, ["task"]).num_rows == 1


def test_sums_give_the_scores_and_what_is_undefined_none(tmp_path: Path) -> None:
    """By task, as the mean over tasks and pooled; without decoding there is perplexity alone."""
    path = tmp_path / "r.samples.parquet"
    rows = {"task": ["a", "b", "b"], "id": ["1", "2", "3"], "group": ["1", "2", "3"], "nats": [1.0, 2.0, 4.0]}
    pq.write_table(pa.table({**rows, "tokens": [1, 2, 4]}), path)
    found = Samples.read(path, "r")
    assert found.fault() is None
    assert found.scores() == {(task, "ppl"): pytest.approx(math.e) for task in ("a", "b", "mean", "pooled")}
