"""HyCAM against every other row, as the command prints it."""

import dataclasses
import json
from pathlib import Path

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.records.store import Store
from hycam_exp.report.select import ComparableRows, select
from hycam_exp.report.statistics import __main__ as command
from hycam_exp.report.statistics.__main__ import ScoreComparison, lines
from tests.report.conftest import MINI, RESULTS, WORDS, mini_frame, mini_records
from tests.report.toy import known_experiments, selection_of


def group_of(records: list[RunRecord]) -> ComparableRows:
    (group,) = selection_of(records, MINI).groups
    return group


@pytest.fixture(scope="module")
def found() -> list[ScoreComparison]:
    return lines(group_of(mini_records()), MINI, 200)[0]


def test_every_other_row_and_score_has_a_line(found: list[ScoreComparison]) -> None:
    """Eight rows but for full fine-tuning, three scores each, corrected together."""
    assert len({line.comparison.baseline for line in found}) == 8
    assert len(found) == 24
    assert not any("full_ft" in str(line.comparison.baseline) for line in found)
    for line in found:
        assert line.comparison.p_corrected_holm >= line.comparison.p_corrected_resampled


def test_both_ways_see_the_same_difference(found: list[ScoreComparison]) -> None:
    """The bootstrap starts from the difference over folds, and its interval holds it."""
    for line in found:
        assert line.bootstrap.difference == pytest.approx(line.comparison.difference, abs=1e-9)
        low, high = line.bootstrap.interval
        assert low <= line.comparison.difference <= high


def test_a_row_without_all_folds_has_no_line_and_is_named() -> None:
    """And HyCAM without them is compared with nothing."""

    def cut(method: str) -> list[RunRecord]:
        gone = [r for r in mini_records() if r.config["method"]["name"] == method][4]
        return [r for r in mini_records() if r is not gone]

    found, left_out = lines(group_of(cut("lora")), MINI, 20)
    assert "lora" not in {line.comparison.baseline for line in found}
    assert left_out == ["tiny_llama-mini: lora lacks fold 4"]
    assert lines(group_of(cut("hycam")), MINI, 20) == ([], ["tiny_llama-mini: hycam lacks fold 4"])


def test_a_sweeps_values_are_neither_ours_nor_rivals(found: list[ScoreComparison]) -> None:
    """Of all committed records the lines are those of the methods alone."""
    (group,) = select(mini_frame(), known_experiments()).groups
    assert [line.comparison for line in lines(group, MINI, 20)[0]] == [line.comparison for line in found]


def test_the_command_prints_a_table_or_json(capsys, monkeypatch, kept: Path) -> None:
    """The same numbers."""
    monkeypatch.setenv("COLUMNS", "180")
    arguments = [*WORDS, "--results", str(RESULTS), "--outputs", str(kept), "--resamples", "50"]
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert "riemoe_lora (recipe.clip=null)" in out
    assert " <0.0001 " in out
    assert " 0.0000 " not in out
    assert command.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lora = next(x for x in found if x["comparison"]["baseline"] == "lora" and x["comparison"]["metric"] == "ppl")
    assert lora["comparison"]["difference"] == pytest.approx(0.1815, abs=1e-4)
    d_z, (low, high) = lora["comparison"]["effect"], lora["comparison"]["effect_interval"]
    assert f" {d_z:.1f}, {low:.1f} to {high:.1f} " in out


def test_no_number_is_cut_in_80_columns(capsys, monkeypatch, kept: Path) -> None:
    """Names and scores are whole too, and no line is longer."""
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [*WORDS, "--results", str(RESULTS), "--outputs", str(kept), "--resamples", "50"]
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("hycam_inverse_peft") == out.count("(recipe.clip=null)") == 3
    assert " 0.1815 " in out
    assert "\N{HORIZONTAL ELLIPSIS}" not in out


def test_what_the_report_refuses_the_command_refuses(tmp_path: Path, capsys, kept: Path) -> None:
    """A fold of another version is in no comparison: the others are named as incomplete, the exit status is 1."""
    store = Store(tmp_path / "runs", tmp_path)
    for record in mini_records():
        method, fold = record.config["method"]["name"], record.config["fold"]
        if method in ("hycam", "lora", "multi_lora"):
            older = 1 if (method, fold) == ("lora", 2) else 2
            store.write(dataclasses.replace(record, results_version=older))
            (tmp_path / "runs" / MINI.samples(record.run_id).name).symlink_to(MINI.samples(record.run_id))
    assert command.main(["--results", str(tmp_path), "--outputs", str(kept), "--resamples", "20"]) == 1
    said = capsys.readouterr()
    assert "not compared: tiny_llama-mini: lora lacks fold 2" in said.out
    assert "left out: 1 of results version 1" in said.err


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    """Not silence: the line says what a comparison needs, whether or not there is a record."""
    with pytest.raises(SystemExit) as caught:
        command.main(["--results", str(tmp_path)])
    assert str(caught.value) == (
        f"error: --results={tmp_path}: no mix has HyCAM, as the paper sets it, with all folds and another PEFT setting"
        " with all folds"
    )
