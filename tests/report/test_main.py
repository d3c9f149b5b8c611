"""The command: what it writes and prints, and how it ends."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.data.table1 import FILE
from hycam_exp.records.store import Store
from hycam_exp.report import __main__ as command
from hycam_exp.report.experiments import Experiments
from hycam_exp.report.figures import catalogue
from hycam_exp.report.frame import read
from hycam_exp.report.select import select
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.tables.build import build
from hycam_exp.report.tables.text import markdown
from tests.report.conftest import MINI, RESULTS, mini_frame, mini_row

HYCAM = "tiny_llama-hycam-mini-f0-s0-c49b993a.json"
SUFFIXES = {".md", ".tex", ".csv"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Committed records of three methods as a user's own."""
    folder = tmp_path_factory.mktemp("whole")
    for run in (run for method in ("full_ft", "lora", "hycam") for run in mini_row(method).runs):
        Store(folder / "runs", folder).write(run.record)
    shutil.copy(RESULTS / FILE, folder)
    return folder


@pytest.fixture(scope="module")
def lora(whole: Path, experiments: Experiments) -> str:
    """LoRA's line of their table."""
    selection = select(read(RecordSource.own(whole), experiments), experiments)
    (table,) = [table for table in build(selection, experiments).tables if table.name == "mini"]
    (line,) = [line for line in markdown(table).splitlines() if "| LoRA |" in line]
    return line


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(whole, tmp_path / "results"))


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Drawing takes seconds; the slow test below has it."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(catalogue, "CATALOGUE", {})


def report(results: Path, kept: Path, *more: str) -> int:
    return command.everything(["--results", str(results), "--outputs", str(kept), *more])


def change(path: Path, how: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads(path.read_text())
    how(fields)
    path.write_text(json.dumps(fields))


def test_the_committed_tables_are_those_of_the_committed_records(tmp_path: Path, kept: Path) -> None:
    """Byte for byte, and again; a second time nothing is written. A study's tables are of its own records alone, in
    its folder, whatever the user's runs and other studies are; theirs are made beside."""
    study, other = (tmp_path / "studies" / name for name in ("mini", "other"))
    shutil.copy(RESULTS / FILE, tmp_path)
    for folder, chosen in ((study / "records", "*"), (other / "records", "*-lora-*"), (tmp_path / "runs", "*-f0-*")):
        folder.mkdir(parents=True)
        for path in MINI.records.glob(chosen):
            (folder / path.name).symlink_to(path)
    assert report(tmp_path, kept) == 0
    written = {path.name: path.read_bytes() for path in (study / "tables").iterdir()}
    assert {Path(name).suffix for name in written} == SUFFIXES
    assert written == {path.name: path.read_bytes() for path in (MINI.out / "tables").iterdir()}
    pages = [folder / "report.html" for folder in (study, other, tmp_path / "report")]
    assert [path.is_file() for path in pages] == [True, True, True]
    assert "| HyCAM | \N{EN DASH} |" in (other / "tables" / "mini.md").read_text()
    assert "(1/5)" in (tmp_path / "report" / "tables" / "mini.md").read_text()
    every = [*(study / "tables").iterdir(), *pages]
    times = {path: path.stat().st_mtime_ns for path in every}
    assert report(tmp_path, kept) == 0
    assert times == {path: path.stat().st_mtime_ns for path in every}


def test_studies_and_runs_never_enter_one_report(
    results: Path, whole: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its own tables and page: the user's run, in results/report, is in no study's table and alone in its; of
    a study's folder there is the study alone."""
    study = results / "studies" / "mine"
    (results / "runs").rename(results / "all")
    for folder, chosen in ((study / "records", "*-lora-mini-*"), (results / "runs", "*-full_ft-mini-f0-s0-*")):
        folder.mkdir(parents=True)
        for path in (results / "all").glob(chosen):
            shutil.copy(path, folder)
    assert report(results, kept) == 0
    means = capsys.readouterr().out.split(f"== {results / 'report'} ==")
    assert [("lora" in part.split(), "full_ft" in part.split()) for part in means] == [(True, False), (False, True)]
    assert (study / "report.html").is_file()
    assert (results / "report" / "report.html").is_file()
    assert not (results / "tables").exists()
    assert report(study, kept) == 0
    assert "full_ft" not in capsys.readouterr().out.split()


def test_a_folder_that_cannot_be_made_is_named_by_its_option(results: Path) -> None:
    """Before anything is composed or written."""
    file = results / "file"
    file.touch()
    with pytest.raises(ValueError, match=rf"^--outputs={file}: {file}/report cannot be made \(Not a directory\)$"):
        report(results, file)
    assert not (results / "report" / "tables").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            lambda f: f.update(schema_version=3),
            f"runs/{HYCAM}: not a whole run record (schema version 3 is newer than this software's 2: update hycam_exp",
        ),
        (
            lambda f: f["scores"][0].update(value=float("nan")),
            f"runs/{HYCAM}: not a whole run record (JSON is malformed: invalid character (byte ",
        ),
        (
            lambda f: f["config"]["recipe"].update(epochs=9),
            "tiny_llama x hycam x mini: refused: fold 0 with recipe.epochs=9",
        ),
        (
            lambda f: f["data"].update(split="0" * 64),
            "tiny_llama x hycam x mini: left out: fold 0 of other records (split of fold 0 00000000, most runs' is ",
        ),
        (
            lambda f: f["data"].update(content="0" * 64),
            "tiny_llama x hycam x mini: left out: fold 0 of other records (data content 00000000, most runs' is",
        ),
        (
            lambda f: f["scores"][0].update(value=-3.0),
            f"runs/{HYCAM}: the score ppl of mini_code is -3, must be at least 1",
        ),
        (
            lambda f: f["config"]["model"].update(name="../x"),
            f"runs/{HYCAM}: config.model.name=../x: must be a plain name",
        ),
        (lambda f: f["config"]["model"].update(name="x" * 300), f"runs/{HYCAM}: config.model.name=xxx"),
    ],
)
def test_bad_input_is_named_and_the_rest_reported(
    results: Path, kept: Path, lora: str, capsys: pytest.CaptureFixture[str], how: Callable[[dict[str, Any]], object],
    said: str,
) -> None:  # fmt: skip
    """With exit status 1; LoRA's row is as before, and nothing is written outside."""
    change(results / "runs" / HYCAM, how)
    assert report(results, kept) == 1
    assert said in capsys.readouterr().err
    page = (results / "report" / "tables" / "mini.md").read_text()
    assert lora in page
    (hycam,) = [line for line in page.splitlines() if line.startswith("| HyCAM |")]
    assert "(4/5)" in hycam or "\N{EN DASH}" in hycam


def test_a_duplicate_and_a_truncated_file_are_named(
    results: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the two records of one cell, and the file."""
    shutil.copy(results / "runs" / HYCAM, results / "runs" / "again.json")
    change(results / "runs" / "again.json", lambda f: f.update(run_id="again"))
    lora = next((results / "runs").glob("tiny_llama-lora-mini-f1*.json"))
    lora.write_bytes(lora.read_bytes()[:1000])
    assert report(results, kept) == 1
    said = capsys.readouterr().err
    assert f"runs/{HYCAM}: the same cell as again" in said
    assert "runs/again.json: the same cell as tiny_llama-hycam-mini-f0" in said
    assert f"{lora}: not a whole run record" in said


def test_mixed_rows_are_marked_where_the_user_allows_them(results: Path, kept: Path) -> None:
    """And the exit status is 0."""
    change(results / "runs" / HYCAM, lambda f: f["config"]["recipe"].update(epochs=9))
    assert report(results, kept, "--allow-mixed") == 0
    page = (results / "report" / "tables" / "mini.md").read_text()
    (hycam,) = [line for line in page.splitlines() if line.startswith("| HyCAM |")]
    assert hycam.count("\N{DAGGER}") == 6
    assert "HyCAM: mixed: fold 0 with recipe.epochs=9" in page


def test_of_two_versions_the_newest_alone_is_reported(
    results: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where mixed rows are allowed: the older ones are named, the exit status is 1."""
    others = [path for path in (results / "runs").glob("*.json") if path.name != HYCAM]
    for path in others:
        change(path, lambda f: f.update(results_version=1))
    assert report(results, kept, "--allow-mixed") == 1
    assert f"{results / 'runs'}: left out: {len(others)} of results version 1" in capsys.readouterr().err
    page = (results / "report" / "tables" / "mini.md").read_text()
    (hycam,) = [line for line in page.splitlines() if line.startswith("| HyCAM |")]
    assert "(1/5)" in hycam
    assert "| LoRA | \N{EN DASH} |" in page


def test_the_command_prints_means_without_torch(results: Path, kept: Path) -> None:
    """A row for each setting; torch and what else is heavy is not loaded."""
    code = (
        "import sys; sys.argv[1:] = {!r}\n"
        "from hycam_exp.report import __main__ as command\n"
        "from hycam_exp.report.figures import catalogue\n"
        "catalogue.CATALOGUE.clear()\n"
        "try: command.main()\n"
        "finally: print(sorted({{'torch', 'transformers', 'matplotlib'}} & set(sys.modules)))"
    ).format(["--results", str(results), "--outputs", str(kept)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2],
        env={"COLUMNS": "160", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hycam = mini_row("hycam")
    assert f"{hycam.mean('ppl'):.3f} +- {hycam.spread('ppl'):.3f}" in done.stdout
    assert "5/5" in done.stdout
    written = len(list((results / "report" / "tables").iterdir()))
    assert written > 40
    assert f"files, {written} of them changed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_broken_file_of_counts_is_named_and_the_rest_reported(
    results: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 1; Table 1 is then without tokens of ours."""
    (results / FILE).write_text("{")
    assert report(results, kept) == 1
    assert f"error: {results / FILE}: not a whole file of counts" in capsys.readouterr().err
    assert "943474" in (results / "report" / "tables" / "table1_datasets.csv").read_text()
    assert "data_prep stats" in (results / "report" / "tables" / "table1_datasets.csv").read_text().splitlines()[1]


def test_a_damaged_samples_file_is_named_and_the_page_written(
    results: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 1; every line of what is said is marked, and the page names the file too."""
    samples = results / "runs" / HYCAM.replace(".json", ".samples.parquet")
    samples.write_bytes(b"PAR1 cut off")
    assert report(results, kept) == 1
    said = capsys.readouterr().err.splitlines()
    assert any(f"{samples.name}: no samples file" in line for line in said)
    assert all(line.startswith("error: ") for line in said)
    assert samples.name in (results / "report" / "report.html").read_text()


def test_every_line_of_an_error_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the message has several."""

    def fail(arguments: object) -> int:
        raise ValueError("a.json: no\nb.json: neither")

    monkeypatch.setitem(command.COMMANDS, "toy", fail)
    monkeypatch.setattr(sys, "argv", ["report", "toy"])
    with pytest.raises(SystemExit) as exit_:
        command.main()
    assert exit_.value.code == "error: a.json: no\nerror: b.json: neither"


def test_pictures_of_records_that_are_gone_are_not_shown(tmp_path: Path) -> None:
    """Shown is what was drawn now, and what a run that has a record left."""
    for name in ("m-mini/old.png", "m-mini/tau.png", "m-mini/tau.csv", "run/tsne.png", "gone/tsne.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    drawn = [tmp_path / "m-mini" / name for name in ("tau.pdf", "tau.png", "tau.csv")]
    found = command.pictures(tmp_path, drawn, ["run", "other"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["m-mini/tau.png", "run/tsne.png"]


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    """Nothing is written there."""
    with pytest.raises(SystemExit, match=r"^error: --results=.*: no study, and no record in .*runs$"):
        command.everything(["--results", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(
    results: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback."""
    (results / "report").mkdir()
    (results / "report" / "tables").write_text("a file")
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(results), "--outputs", str(kept)])
    with pytest.raises(SystemExit, match=r"^error: .*tables"):
        command.main()


def test_a_sub_command_has_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the line, and its exit status."""
    monkeypatch.setitem(command.COMMANDS, "toy", lambda arguments: len(arguments))
    monkeypatch.setattr(sys, "argv", ["report", "toy", "a", "b"])
    with pytest.raises(SystemExit) as exit_:
        command.main()
    assert exit_.value.code == 2


@pytest.mark.slow
def test_figures_come_with_the_tables(tmp_path: Path, kept: Path) -> None:
    """Those of the committed records, and a second time none is drawn."""
    results = tmp_path / "results"
    for run in mini_frame().runs:
        Store(results / "runs", results).write(run.record)
    shutil.copy(RESULTS / FILE, results)
    assert report(results, kept) == 0
    pictures = {path: path.stat().st_mtime_ns for path in (results / "report" / "figures").rglob("*.*")}
    for path in pictures:
        assert path.read_bytes() == (MINI.out / path.relative_to(results / "report")).read_bytes(), path
    assert report(results, kept) == 0
    assert pictures == {path: path.stat().st_mtime_ns for path in pictures}


def test_a_command_that_there_is_not_names_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not an argument that argparse does not know."""
    monkeypatch.setattr(sys, "argv", ["report", "claim"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: claim: no such command; there are claims, figures, statistics")


def test_a_pipe_that_its_reader_closed_is_no_error(kept: Path) -> None:
    """`| head -c 100` ends the command without a word."""
    line = f"{sys.executable} -m hycam_exp.report claims --json --outputs {kept} | head -c 100"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (len(done.stdout), done.stderr) == (100, "")
