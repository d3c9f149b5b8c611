"""Where files lie: folders under any name, and what a snapshot of the hub or a saved set of `datasets` holds."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import canonical, folders, tables
from data_prep.tasks import reading
from hycam_exp.data.records import Record
from hycam_exp.data.sources import read

ROWS = [{"instruction": f"Count {n}.", "input": "", "output": f"It is {n}."} for n in range(6)]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("auto_cot", "auto_cot"), ("autocot", "auto_cot"), ("Auto-CoT", "auto_cot"), ("icliniq", "icliniq"),
        ("iCliniq", "icliniq"), ("dolly", "dolly"), ("databricks-dolly-15k", "dolly"), ("codealpaca", "code_alpaca"),
        ("code_alpaca", "code_alpaca"), ("CodeAlpaca-20k", "code_alpaca"), ("webgpt", "web_gpt"),
        ("web_gpt", "web_gpt"), ("webGPT", "web_gpt"),
        ("retention", None), ("alpaca", None), ("", None),
    ],
)  # fmt: skip
def test_folders_are_recognised(name: str, task: str | None) -> None:
    """Case and separators of a folder's name do not matter; an unknown name is no task."""
    assert folders.recognised(name) == task


def test_two_folders_of_one_task_are_refused(tmp_path: Path) -> None:
    """With code_alpaca and codealpaca side by side nobody can say which is meant."""
    (tmp_path / "codealpaca").mkdir()
    assert folders.folder_of("code_alpaca", tmp_path) == tmp_path / "codealpaca"
    (tmp_path / "code_alpaca").mkdir()
    with pytest.raises(ValueError, match="both code_alpaca and codealpaca are folders of code_alpaca"):
        folders.folder_of("code_alpaca", tmp_path)


def test_folders_are_the_known_and_the_converted(tmp_path: Path) -> None:
    """In a folder of tasks there are the five, in their order, and what has a manifest; nothing else."""
    for name in ("webgpt", "dolly", "mine", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    assert list(folders.folders(tmp_path).items()) == [(t, tmp_path / f) for t, f in (
        ("dolly", "dolly"), ("web_gpt", "webgpt"), ("mine", "mine"))]  # fmt: skip


def test_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    """No folder, or nothing known in it, is an error that says what is known."""
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        folders.folders(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="known are auto_cot, "):
        folders.folders(tmp_path)


def instructions(records: list[Record]) -> list[str]:
    return sorted(record.instruction for record in records)


def test_hub_snapshot_is_read(tmp_path: Path) -> None:
    """Parquet beside dataset_infos.json and under data/ is read, what only describes it is not."""
    folder = tmp_path / "auto_cot"
    (folder / "data").mkdir(parents=True)
    (folder / "dataset_infos.json").write_text(json.dumps({"default": {"features": {}}}))
    (folder / "README.md").write_text("---")
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), folder / "extra.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[2:4]), folder / "data" / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[4:]), folder / "data" / "train-00001-of-00002.parquet")
    for root in (tmp_path, folder):
        assert instructions(read(["auto_cot"], str(root)).records) == [row["instruction"] for row in ROWS]


def test_saved_sets_of_datasets_are_read(tmp_path: Path) -> None:
    """What `save_to_disk` writes, of one set or a dictionary of them, is read; descriptions and caches are not."""
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "one" / "auto_cot"), num_shards=2)
    (tmp_path / "one" / "auto_cot" / "cache-0123.arrow").write_bytes(b"what a map left")
    parts = {"train": datasets.Dataset.from_list(ROWS[:4]), "test": datasets.Dataset.from_list(ROWS[4:])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "two" / "auto_cot"))
    for root in ("one", "one/auto_cot", "two", "two/auto_cot"):
        assert instructions(read(["auto_cot"], str(tmp_path / root)).records) == [row["instruction"] for row in ROWS]
    entries = canonical.convert_all(tmp_path / "two", tmp_path / "out", reading, lambda task, entry: None)
    assert [entry.parquet for entry in entries] == [
        "train-data-00000-of-00001.parquet", "test-data-00000-of-00001.parquet"
    ]  # fmt: skip
    assert read(["auto_cot"], str(tmp_path / "out")).records == read(["auto_cot"], str(tmp_path / "two")).records


def test_damaged_saved_set_is_named(tmp_path: Path) -> None:
    """A listed file that is missing, and a list that is none, are errors that name the file."""
    folder = tmp_path / "auto_cot"
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    with pytest.raises(ValueError, match=r"data\.arrow: no such file, though .*state\.json names it"):
        read(["auto_cot"], str(tmp_path))
    (folder / "state.json").write_text("[]")
    with pytest.raises(ValueError, match=r"state\.json: not what `datasets` saves"):
        read(["auto_cot"], str(tmp_path))


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl.gz", "rows.csv", "rows.parquet", "rows.arrow"])
def test_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    """A file that a clone holds only a pointer of is refused as that, whatever its form."""
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}: a Git LFS pointer .*`git lfs pull` in .* fetches it"):
        list(tables.rows(tmp_path / name))
    with pytest.raises(ValueError, match=rf"{name}: a Git LFS pointer"):
        read(["mine"], str(tmp_path / name), {"mine": {"instruction": "instruction", "output": "output"}})
