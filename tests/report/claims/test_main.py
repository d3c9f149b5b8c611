"""`python -m hycam_exp.report claims`: what it prints, for people and for programs, and what it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.report.cache import kept_in
from hycam_exp.report.claims.__main__ import lines, main
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN
from hycam_exp.report.claims.statements import found as statements
from hycam_exp.report.published import read
from tests.report.conftest import WORDS
from tests.report.toy import known_experiments

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "results" / "published"


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    """The commands find what was composed already."""
    monkeypatch.setattr("hycam_exp.report.claims.__main__.held_in", lambda _: kept_in(kept))


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict]:
    assert main([*arguments, "--json"]) == 0
    return {claim["id"]: claim for claim in json.loads(capsys.readouterr().out)["claims"]}


def test_the_command_loads_no_torch_and_finds_the_papers_errors(kept: Path) -> None:
    """From a shell: marks of Table 5 and the samples of CodeAlpaca, with file and line, without torch."""
    code = (
        f"import sys; sys.argv = ['report', 'claims', 'study=mini', '--outputs', '{kept}']; import runpy;\n"
        "try: runpy.run_module('hycam_exp.report', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    for found in ("table5_tasks_llama2_7b.csv:69 HyCAM dolly bleu4 0.093 is marked second, not nothing",
                  "table5_tasks_llama2_7b.csv:39 Multi LoRA dolly bleu4 0.101 is marked nothing, not second",
                  "table5_tasks_llama2_7b.csv:51 RieMoE-LoRA icliniq bleu4 0.051 is marked nothing, not second",
                  "table1_datasets.csv:5 code_alpaca has 20,222 samples",
                  "does not hold on the mini set",
                  "ours: the mini set; tiny_llama; 5 of 5 folds"):  # fmt: skip
        assert found in text


def test_json_has_statement_definition_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    """Every claim with its place in the paper; ours labelled with its setting; consistency of tables has no ours."""
    found = as_json(capsys, *WORDS, "--results", str(ROOT / "results"))
    assert set(found["ablation"]) == {"id", "statement", "where", "definition", "published", "ours"}
    for claim in found.values():
        assert claim["statement"]
        assert claim["definition"]
        assert {f["verdict"] for f in (claim["published"], *claim["ours"])} <= {HOLDS, FAILS, UNKNOWN}
    assert found["average_improvement"]["ours"][0]["setting"].startswith("the mini set; tiny_llama")
    assert found["marks_table5"]["ours"] == []


def test_another_copy_of_the_numbers_changes_the_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One changed mark and one changed value turn a verdict each; the rest stays."""
    copy = Path(shutil.copytree(COMMITTED, tmp_path / "copy"))
    before = as_json(capsys, "--results", str(tmp_path))
    for name, old, new in (("table2_main", "HyCAM,llama2_7b,ppl,3.081,best", "HyCAM,llama2_7b,ppl,3.081,second"),
                           ("table6_ablation_llama2_7b", "full_spec,3.102", "full_spec,3.002")):  # fmt: skip
        path = copy / f"{name}.csv"
        path.write_text(path.read_text().replace(old, new))
    after = as_json(capsys, "--results", str(tmp_path), "--published", str(copy))
    verdicts = {name: (before[name]["published"]["verdict"], after[name]["published"]["verdict"]) for name in before}
    assert {name: pair for name, pair in verdicts.items() if pair[0] != pair[1]} == {
        "marks_table2": (HOLDS, FAILS), "ablation": (HOLDS, FAILS),
    }  # fmt: skip
    assert "table2_main.csv:62 HyCAM llama2_7b ppl 3.081 is marked second" in after["marks_table2"]["published"]["text"]


def test_without_records_ours_cannot_be_told() -> None:
    """And the last line says that there are none; the text keeps to the width."""
    shown = list(lines(statements(read(), [], known_experiments().cache), 80))
    assert "  ours        cannot be told: no records of HyCAM" in shown
    assert shown[-1] == "ours: no records of HyCAM"
    assert max(map(len, shown)) <= 80


def test_what_a_user_can_mend_is_one_line(tmp_path: Path) -> None:
    """No such folder; a bad number with file and line; a missing table."""
    with pytest.raises(SystemExit, match=r"^error: --results=none: no such folder"):
        main(["--results", "none"])
    copy = Path(shutil.copytree(COMMITTED, tmp_path / "copy"))
    path = copy / "table2_main.csv"
    path.write_text(path.read_text().replace("3.193", "3,193", 1))
    with pytest.raises(SystemExit, match=r"^error: .*table2_main\.csv:2: more values than there are columns"):
        main(["--published", str(copy), "--results", str(tmp_path)])
    path.unlink()
    with pytest.raises(SystemExit, match=r"^error: .*table2_main\.csv: cannot be read: No such file or directory$"):
        main(["--published", str(copy), "--results", str(tmp_path)])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_broken_record_is_named_and_the_rest_told(tmp_path: Path, capsys, form: list[str]) -> None:
    """The statements are those of the other records; an error line names the file, and the exit status is 1."""
    assert main(["--results", str(tmp_path), *form]) == 0
    whole = capsys.readouterr().out
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "broken.json").write_text("{")
    assert main(["--results", str(tmp_path), *form]) == 1
    said = capsys.readouterr()
    assert said.out == whole
    assert said.err.startswith(f"error: {tmp_path / 'runs' / 'broken.json'}: ")
    assert said.err.count("\n") == 1
