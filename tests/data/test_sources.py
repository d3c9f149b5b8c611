"""Sources: upstream files found, read and converted, or an error that names file and line."""

import hashlib
import json
import re
from pathlib import Path
from random import Random

import pytest

from data_prep import mini
from data_prep.tasks import TASKS
from hycam_exp.data.records import Record, Rejection, content_hash
from hycam_exp.data.sources import read, rejection_counts

GOOD = [{"instruction": f"Count {i}.", "input": "", "output": f"It is {i}."} for i in range(4)]
BROKEN = [{"instruction": "x", "output": ""}, 7, {"instruction": "x", "output": None}]


def write(path: Path, rows: list) -> Path:
    """The rows as a JSON array, or as lines where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows, indent=1), encoding="utf-8")
    return path


def test_rows_are_records_or_rejections(tmp_path: Path) -> None:
    """Each row in comes out as one record or one rejection that names its file and line."""
    path = write(tmp_path / "auto_cot" / "rows.jsonl", [*GOOD, *BROKEN])
    found = read(["auto_cot"], str(tmp_path))
    assert sorted(r.instruction for r in found.records) == [row["instruction"] for row in GOOD]
    assert found.rejections == [
        Rejection(task="auto_cot", source=str(path), line=5, reason="empty output"),
        Rejection(task="auto_cot", source=str(path), line=6, reason="the row is int, not an object"),
        Rejection(task="auto_cot", source=str(path), line=7, reason="no output"),
    ]


def test_files_are_named_by_size_and_hash(tmp_path: Path) -> None:
    """Every file that was read is listed, in order of name; other files in the folder are not."""
    paths = [
        write(tmp_path / "dolly" / name, GOOD) for name in ("f.json", "c.json", "a.jsonl", "e.json", "b.json", "d.json")
    ]
    (tmp_path / "dolly" / "README.md").write_text("not data")
    (tmp_path / "dolly" / "old.json").mkdir()
    found = read(["dolly"], str(tmp_path))
    assert [(s.task, s.name, s.size, s.sha256) for s in found.sources] == [
        ("dolly", path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(paths)
    ]
    assert len(found.records) == len(paths) * len(GOOD)


@pytest.mark.parametrize("root", ["data", "data/auto_cot", "data/auto_cot/Auto-CoT.json"])
def test_single_task_may_lie_in_the_root_itself(tmp_path: Path, root: str) -> None:
    """For one task the root is the folder of tasks, the task's folder, or its file: the records are the same."""
    write(tmp_path / "data" / "auto_cot" / "Auto-CoT.json", GOOD)
    found = read(["auto_cot"], str(tmp_path / root))
    assert found.records == read(["auto_cot"], str(tmp_path / "data")).records
    assert len(found.records) == len(GOOD)


def test_several_tasks_need_a_folder_each(tmp_path: Path) -> None:
    """With two tasks a folder is not taken for both of them."""
    write(tmp_path / "auto_cot" / "rows.json", GOOD)
    with pytest.raises(ValueError, match=r"data.root=.*: no folder .*code_alpaca with the files of code_alpaca"):
        read(["auto_cot", "code_alpaca"], str(tmp_path))
    write(tmp_path / "code_alpaca" / "rows.json", GOOD[:1])
    found = read(["auto_cot", "code_alpaca"], str(tmp_path))
    assert [sum(r.task == task for r in found.records) for task in ("auto_cot", "code_alpaca")] == [4, 1]


def test_place_and_order_do_not_enter_the_content(tmp_path: Path) -> None:
    """The same rows elsewhere, in another order and another form, are the same records with the same hash."""
    write(tmp_path / "here" / "auto_cot" / "rows.json", GOOD)
    shuffled = Random(1).sample(GOOD, len(GOOD))
    assert shuffled != GOOD
    write(tmp_path / "there" / "auto_cot" / "other.jsonl", shuffled)
    here, there = (read(["auto_cot"], str(tmp_path / name)).records for name in ("here", "there"))
    assert here == there
    assert content_hash(here) == content_hash(there)


def test_generated_set_is_read_without_a_root() -> None:
    """Without a root the records are those of the mini set in the package, and its files are named as any others."""
    names = ["mini_passage", "mini_sources"]
    found = read(names, None)
    assert found.rejections == []
    assert [(source.task, source.name) for source in found.sources] == [(name, f"{name}.parquet") for name in names]
    assert {record.task for record in found.records} == set(names)
    assert found == read(names, str(mini.RECORDS))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.jsonl", '{"instruction": "a", "output": "b"}\n\n{"instruction": \n', r"rows\.jsonl:3: malformed JSON"),
        ("rows.json", '[\n {"instruction": "a",\n  "output": }\n]', r"rows\.json:3: malformed JSON"),
        ("rows.json", '{"instruction": "a",\n "output": b}', r"rows\.json:2: malformed JSON"),
        (
            "rows.jsonl",
            '{"output": "a", "output": "b"}',
            r"rows\.jsonl:1: malformed JSON: the key 'output' stands twice",
        ),
        ("rows.json", '[{"instruction": "a"}\n,', r"rows\.json:2: malformed JSON: the array is not closed"),
        ("rows.jsonl", "", r"rows\.jsonl: no row in it"),
        ("rows.json", " \n\n", r"rows\.json: no row in it"),
        ("rows.json", "[]", r"rows\.json: no row in it"),
        ("rows.jsonl", '{"instruction": "a"}\n{}\n', r"rows\.jsonl:1: no output; all 2 rows of auto_cot were rejected"),
        (
            "rows.csv",
            "instruction,output\na,b\n",
            r"no file of auto_cot in .* \(\.json or \.jsonl or \.parquet or \.arrow\)",
        ),
    ],
)
def test_file_without_records_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    """Malformed, empty, foreign or wholly rejected: the error says which file, and on which line where there is one."""
    (tmp_path / "auto_cot").mkdir()
    (tmp_path / "auto_cot" / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read(["auto_cot"], str(tmp_path))


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """A byte that is not UTF-8 is named with its file and line."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"instruction": "a", "output": "b"}\n{"instruction": "caf\xe9", "output": "b"}\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: not UTF-8"):
        read(["auto_cot"], str(path))


def test_missing_files_are_refused_with_the_ways_to_have_them(tmp_path: Path) -> None:
    """The command that fetches them to where they were looked for (for a mix: all), and the setting for a copy."""
    place = str(tmp_path / "data")
    for tasks, way in (
        (
            ["auto_cot"],
            f"`python -m data_prep fetch auto_cot --root {place}` gets them, or data.root=DIR, or FILE, names",
        ),
        (list(TASKS), f"`python -m data_prep fetch --root {place}` gets them, or data.root=DIR names where yours lie"),
        (["mine"], "the files of mine; data.root=DIR, or FILE, names where yours lie"),
    ):
        with pytest.raises(ValueError, match=re.escape(way)):
            read(tasks, place)
    write(tmp_path / "data" / "auto_cot" / "Auto-CoT.json", GOOD)  # where data_prep.fetch puts it
    assert read(["auto_cot"], place).records


@pytest.mark.parametrize("tasks", [["auto_cot"], list(TASKS)])
def test_missing_folder_is_refused(tmp_path: Path, tasks: list[str]) -> None:
    """A root that is not there is named."""
    with pytest.raises(ValueError, match=r"data\.root=.*nowhere: no folder .*nowhere"):
        read(tasks, str(tmp_path / "nowhere"))


@pytest.mark.parametrize("task", ["Dolly", "mini", ""])
def test_unknown_task_is_refused(task: str) -> None:
    """A task that is none of the generated and the five is named, with them all."""
    with pytest.raises(ValueError, match=rf"data\.tasks={task}: must be one of mini_reasoning, .*auto_cot, .*web_gpt"):
        read([task], None)


@pytest.mark.parametrize("task", TASKS)
def test_real_task_needs_a_root(task: str) -> None:
    """No generated records stand in for those of a real set."""
    with pytest.raises(ValueError, match=rf"data\.tasks={task}: needs data\.root, the file or folder to read"):
        read([task], None)


def test_generated_task_elsewhere_is_refused_with_its_ways(tmp_path: Path) -> None:
    """With a root that lacks it, a generated task is told where it is, and how it is made."""
    with pytest.raises(
        ValueError, match=r"no folder .*data\.root=null has those of mini_code, or `python -m data_prep.mini"
    ):
        read(["mini_code", "mini_passage"], str(tmp_path))


@pytest.mark.parametrize("root", ["", " "])
def test_empty_root_is_refused(root: str) -> None:
    """`data.root=` names nothing, least of all the folder one stands in."""
    with pytest.raises(ValueError, match=r"^data\.root= ?: is empty; it names a folder or file"):
        read(["auto_cot"], root)


def test_one_task_without_records_is_refused_in_a_mix(tmp_path: Path) -> None:
    """Records of another task do not hide that a task has none."""
    write(tmp_path / "auto_cot" / "rows.json", GOOD)
    write(tmp_path / "dolly" / "rows.json", BROKEN)
    with pytest.raises(ValueError, match=r"dolly.rows\.json:2: .* all 3 rows of dolly were rejected"):
        read(["auto_cot", "dolly"], str(tmp_path))


def test_rejections_are_counted_by_task_and_reason() -> None:
    """Equal reasons of a task are one row, in order of name."""
    found = [
        Rejection(task=task, source="f", line=1, reason=reason)
        for task, reason in (("web_gpt", "no answer"), ("dolly", "no output"), ("web_gpt", "no answer"))
    ]
    assert list(rejection_counts(found).items()) == [("dolly: no output", 1), ("web_gpt: no answer", 2)]


@pytest.mark.parametrize(
    ("task", "folder", "rows"),
    [
        ("auto_cot", "auto_cot", 5816),
        ("dolly", "dolly", 15011),
        ("icliniq", "icliniq", 2000),
        ("code_alpaca", "codealpaca", 2017 + 4535 + 20),
        ("web_gpt", "webgpt", 271),
    ],
)
def test_real_files_are_read_whole(shared: Path, task: str, folder: str, rows: int) -> None:
    """Of the real files every row is a record or a rejection, and nine of ten are records with a response."""
    found = read([task], str(shared / "data" / folder))
    assert len(found.records) + len(found.rejections) == rows
    assert len(found.records) > 0.9 * rows
    assert all(isinstance(r, Record) and r.output.strip() and r.instruction.strip() for r in found.records)


@pytest.mark.parametrize("folder", ["codealpaca", "code_alpaca", "CodeAlpaca-20k"])
def test_folder_of_a_task_has_several_names(tmp_path: Path, folder: str) -> None:
    """In a mix too, a task's folder is found under any of its names."""
    write(tmp_path / folder / "rows.json", GOOD)
    write(tmp_path / "autocot" / "rows.json", GOOD[:1])
    found = read(["auto_cot", "code_alpaca"], str(tmp_path))
    assert [sum(r.task == task for r in found.records) for task in ("auto_cot", "code_alpaca")] == [1, 4]


def test_whole_shared_folder_is_a_mix(shared: Path) -> None:
    """The folder of real data is `data.root` as it is, codealpaca and webgpt with the rest."""
    found = read(["icliniq", "code_alpaca", "web_gpt"], str(shared / "data"))
    counts = [sum(r.task == task for r in found.records) for task in ("icliniq", "code_alpaca", "web_gpt")]
    assert (counts, len(found.rejections)) == ([2000, 6570, 271], 2)


def test_shared_folder_holds_each_task_once(tmp_path: Path, shared: Path) -> None:
    """Real files of two tasks under the tasks' names are one mix."""
    for task, folder in (("icliniq", "icliniq"), ("web_gpt", "webgpt")):
        (tmp_path / task).symlink_to(shared / "data" / folder)
    found = read(["icliniq", "web_gpt"], str(tmp_path))
    assert [source.task for source in found.sources] == ["icliniq", "web_gpt"]
