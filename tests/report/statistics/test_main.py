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
from tests.report.conftest import MINI, RESULTS, WORDS, mini_frame, mini_records, mini_rows
from tests.report.toy import known_experiments, selection_of


def group_of(records: list[RunRecord]) -> ComparableRows:
    (group,) = selection_of(records, MINI).groups
    return group


@pytest.fixture(scope="module")
def found() -> list[ScoreComparison]:
    return lines(group_of(mini_records()), MINI, 200)[0]


def test_every_other_row_and_score_has_a_line(found: list[ScoreComparison]) -> None:
    """All rows but full fine-tuning, three scores each, corrected together."""
    rivals = {row.label for row in mini_rows()} - {"full_ft", "hycam"}
    assert {line.comparison.baseline for line in found} == rivals
    assert len(found) == 3 * len(rivals) >= 12
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
    """With HyCAM's runs at another N_s beside them the lines are those of the methods alone."""
    swept = [
        dataclasses.replace(
            r, run_id=f"{r.run_id}-n", config={**r.config, "method": {**r.config["method"], "num_specialized": 3}}
        )
        for r in mini_records()
        if r.config["method"]["name"] == "hycam"
    ]
    again = lines(group_of([*mini_records(), *swept]), MINI, 20)[0]
    assert [line.comparison for line in again] == [line.comparison for line in found]


def shown_difference() -> str:
    """HyCAM's mean PPL over folds less LoRA's, of all committed trainings, as the command prints it."""
    (group,) = select(mini_frame(), known_experiments()).groups
    by_method = {row.method: row.mean("ppl") for row in group.rows if not row.variant}
    return f"{by_method['hycam'] - by_method['lora']:.4f}"


def test_the_command_prints_a_table_or_json(capsys, monkeypatch, kept: Path) -> None:
    """The same numbers."""
    monkeypatch.setenv("COLUMNS", "180")
    arguments = [*WORDS, "--results", str(RESULTS), "--outputs", str(kept), "--resamples", "50"]
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert "lora_matched" in out
    assert " 0.0000 " not in out
    assert command.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lora = next(x for x in found if x["comparison"]["baseline"] == "lora" and x["comparison"]["metric"] == "ppl")
    assert lora["comparison"]["difference"] == pytest.approx(float(shown_difference()), abs=1e-4)
    d_z, (low, high) = lora["comparison"]["effect"], lora["comparison"]["effect_interval"]
    assert f" {d_z:.1f}, {low:.1f} to {high:.1f} " in out


def test_no_number_is_cut_in_80_columns(capsys, monkeypatch, kept: Path) -> None:
    """Names and scores are whole too, and no line is longer."""
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [*WORDS, "--results", str(RESULTS), "--outputs", str(kept), "--resamples", "50"]
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("lora_matched") == out.count("riemoe_lora") == 3
    assert f" {shown_difference()} " in out
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
