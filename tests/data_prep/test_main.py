"""The command: quick help, one-line errors, exit status 0 only when all went well."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_prep import __main__ as command
from data_prep import fetch, preview, stats
from hycam_exp.data import sources, table1
from hycam_exp.data.records import content_hash

ROW = {"instruction": "Why?", "context": "", "response": "So it is.", "category": "qa"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of tasks with one of them."""
    (tmp_path / "dolly").mkdir()
    rows = [ROW | {"instruction": f"Why {n}?"} for n in range(12)]
    (tmp_path / "dolly" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = command.main([str(a) for a in arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_help_is_quick() -> None:
    """The help of the heaviest command imports nothing heavy: a process of its own is done in a second."""
    start = time.perf_counter()
    code = (
        "import sys; from data_prep.__main__ import main\n"
        "try: main(['preview', '--help'])\n"
        "finally: heavy = {'torch', 'pyarrow', 'transformers', 'datasets'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("name", ["fetch", "convert", "stats", "check", "preview"])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with status 0 and says how the command is used."""
    with pytest.raises(SystemExit) as end:
        command.main([name, "--help"])
    assert end.value.code == 0
    assert f"python -m data_prep {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "all", "--root", "nowhere", "--out", "out"], "nowhere: no file of auto_cot"),
        (["convert", "all", "--root", "nowhere"], "convert all: needs --out"),
        (["convert", "all", "--out", "out"], "convert all: needs --root"),
        (["convert", "dolly", "--out", "out"], "convert dolly: needs --source"),
        (["convert", "dolly", "--out", "out", "--source", "none.jsonl"], "none.jsonl: no such file"),
        (["convert", "dolly", "--out", "out", "--source", "x", "--answers", "both"], "can be chosen for web_gpt only"),
        (["convert", "dolly", "--out", "out", "--source", "x", "--instruction", "q"], "takes no --instruction"),
        (["convert", "dolly", "--out", "out", "--source", "x", "--root", "y"], "takes no --root"),
        (["convert", "generic", "--out", "out", "--source", "x"], "convert generic: needs --task"),
        (["convert", "generic", "--out", "o", "--source", "x", "--task", "../x"], "--task=../x: must be a plain name"),
        (["preview", "/etc/x"], "TASK=/etc/x: must be a plain name"),
        (["convert", "generic", "--out", "o", "--source", "x", "--task", "x", "--output", "a"], "no instruction"),
        (["stats", "--root", "nowhere"], "nowhere: no such folder"),
        (["check", "--root", "nowhere"], "nowhere: no such folder"),
        (["preview", "dolly", "--tokenizer", "nowhere"], "no tokenizer.json there"),
        (["fetch", "dolyl"], "fetch dolyl: must be one of auto_cot"),
    ],
)
def test_mistake_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What a user got wrong ends with status 1 and one line that names it."""
    monkeypatch.chdir(tmp_path)
    status, out, error = run(capsys, *arguments)
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert error.startswith("error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_convert_all_says_what_became_of_each_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for every file, with reasons and lines of what was rejected."""
    (root / "codealpaca").mkdir()
    (root / "codealpaca" / "rows.json").write_text('[{"instruction": "a", "output": "b"},\n{"instruction": "a"}]')
    status, out, _ = run(capsys, "convert", "all", "--root", root, "--out", root / "out")
    assert (status, out.splitlines()) == (0, [
        "dolly: rows.jsonl: 12 rows, 12 records, 0 rejected",
        "code_alpaca: rows.json: 2 rows, 1 records, 1 rejected",
        "  1 x no output: line 2",
    ])  # fmt: skip


def test_generic_task_goes_all_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's CSV becomes a task that stats and check know."""
    (tmp_path / "faq.csv").write_text("q,a\nWhy?,So it is.\nWho?,Ada.\n")
    options = ("--task", "faq", "--instruction", "q", "--output", "a", "--out", tmp_path / "out")
    assert run(capsys, "convert", "generic", "--source", tmp_path / "faq.csv", *options)[0] == 0
    status, out, _ = run(capsys, "stats", "--root", tmp_path / "out", "--json")
    assert (status, json.loads(out)["rows"][0]["measured"]["samples"]) == (0, 2)
    assert json.loads(out)["rows"][0]["published"] is None
    assert run(capsys, "check", "--root", tmp_path / "out", "--strict")[0] == 0


def test_strict_is_a_status(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings alone are status 0; with --strict they are 1; JSON says the same as the table."""
    with (root / "dolly" / "rows.jsonl").open("a") as stream:
        stream.write(json.dumps(ROW | {"instruction": "Why 0?"}) + "\n")
    assert run(capsys, "check", "--root", root)[0] == 0
    status, out, _ = run(capsys, "check", "--root", root, "--strict", "--json")
    assert (status, json.loads(out)["rows"][0]["exact_duplicates"]) == (1, 1)


def test_fetch_that_misses_something_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline every set has its line and the status is 1."""

    def offline(*_: object) -> Path:
        raise fetch.Unreachable("offline")

    monkeypatch.setattr(fetch, "download", offline)
    status, out, _ = run(capsys, "fetch", "--root", tmp_path)
    assert (status, len(out.splitlines())) == (1, 6)
    assert run(capsys, "fetch", "retention", "--root", tmp_path)[1].count("\n") == 1


def test_counts_are_written_for_the_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the tokenizer's name and hash and the records' hash; without a tokenizer there is nothing to write."""
    out = root / "results" / "datasets.json"
    tokenizer = Path(__file__).parents[2] / "hycam_exp" / "assets" / "tiny_llama"
    status, printed, _ = run(capsys, "stats", "--root", root, "--tokenizer", tokenizer, "--out", out)
    found = table1.read_measured(out)
    assert (status, found is not None, "dolly" in printed) == (0, True, True)
    assert found is not None
    records = sources.read(["dolly"], str(root)).records
    row = stats.measured("dolly", root, preview.tokenizer_at(tokenizer), "alpaca", 1200)
    assert found.tasks == {
        "dolly": table1.Counted(samples=12, total_tokens=row.total or 0, content=content_hash(records))
    }
    digest = hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest()
    assert (found.tokenizer, found.tokenizer_sha256, found.prompt) == ("tiny_llama", digest, "alpaca")
    out.unlink()
    assert run(capsys, "stats", "--root", root, "--out", out)[::2] == (
        1, f"error: stats --out {out}: needs --tokenizer DIR, whose tokens are written (Table 1: Llama 3's)\n",
    )  # fmt: skip
    assert not out.exists()
