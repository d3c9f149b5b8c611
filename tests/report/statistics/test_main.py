"""HyCAM against every other setting, as the command prints it."""

import dataclasses
import json

import pytest

from hycam_exp.report.claims.evidence import declared_settings, papers_setting
from hycam_exp.report.select import summarise
from hycam_exp.report.statistics import __main__ as comparisons
from tests.report.conftest import RESULTS, mini_records

SUMMARIES = summarise(mini_records())


@pytest.fixture(scope="module")
def lines():
    return list(comparisons.lines(SUMMARIES, RESULTS, resamples=200))


def test_every_other_setting_and_score_has_a_line(lines):
    """Eight settings but for full fine-tuning, three scores each, corrected together."""
    assert len({line.comparison.baseline for line in lines}) == 8
    assert len(lines) == 24
    assert not any("full_ft" in str(line.comparison.baseline) for line in lines)
    for line in lines:
        assert line.comparison.p_corrected_holm >= line.comparison.p_corrected_resampled


def test_both_ways_see_the_same_difference(lines):
    """The bootstrap starts from the difference over folds, and its interval holds it."""
    for line in lines:
        assert line.bootstrap.difference == pytest.approx(line.comparison.difference, abs=1e-9)
        low, high = line.bootstrap.interval
        assert low <= line.comparison.difference <= high


def test_a_setting_without_all_folds_has_no_line():
    """And HyCAM without them is compared with nothing."""
    cut = [dataclasses.replace(s, records=s.records[:4]) if s.method == "lora" else s for s in SUMMARIES]
    assert "lora" not in {line.comparison.baseline for line in comparisons.lines(cut, RESULTS, 20)}
    ours = [dataclasses.replace(s, records=s.records[:4]) if s.method == "hycam" else s for s in SUMMARIES]
    assert list(comparisons.lines(ours, RESULTS, 20)) == []


def test_the_command_prints_a_table_or_json(capsys, monkeypatch):
    """The same numbers."""
    monkeypatch.setenv("COLUMNS", "160")
    arguments = ["--results", str(RESULTS), "--resamples", "50"]
    assert comparisons.main(arguments) == 0
    out = capsys.readouterr().out
    assert "riemoe_lora (recipe.clip=null)" in out
    assert comparisons.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lora = next(x for x in found if x["comparison"]["baseline"] == "lora" and x["comparison"]["metric"] == "ppl")
    assert lora["comparison"]["difference"] == pytest.approx(0.1815, abs=1e-4)
    effect, (low, high) = lora["comparison"]["effect"], lora["comparison"]["effect_interval"]
    assert f" {effect:.1f}, {low:.1f} to {high:.1f} " in out


def test_no_number_is_cut_in_80_columns(capsys, monkeypatch):
    """Names and scores are whole too, and no line is longer."""
    monkeypatch.setenv("COLUMNS", "80")
    assert comparisons.main(["--results", str(RESULTS), "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("hycam_inverse_peft") == out.count("(recipe.clip=null)") == 3
    assert " 0.1815 " in out
    assert "\N{HORIZONTAL ELLIPSIS}" not in out


def test_ours_is_hycam_as_the_paper_sets_it():
    """Of a sweep's values none is ours, and none is a rival of HyCAM's own value."""
    ours = papers_setting([s for s in SUMMARIES if s.method == "hycam"], declared_settings())
    assert ours is not None
    records = [
        dataclasses.replace(r, config=r.config | {"method": r.config["method"] | {"num_specialized": value}})
        for value in (1, 8)
        for r in ours.records
    ]
    others = [s for s in SUMMARIES if s.method in ("lora", "hycam_shared_only") and s.is_complete]
    swept = summarise([*records, *(r for s in (ours, *others) for r in s.records)])
    found = list(comparisons.lines(swept, RESULTS, 20))
    assert {line.comparison.baseline for line in found} == {"lora", "hycam_shared_only"}
    alone = list(comparisons.lines([ours, *others], RESULTS, 20))
    assert [line.comparison.difference for line in found] == [line.comparison.difference for line in alone]


def test_nothing_to_compare_is_an_error(tmp_path):
    """Not silence: the line says what a comparison needs, whether or not there is a record."""
    with pytest.raises(SystemExit) as caught:
        comparisons.main(["--results", str(tmp_path)])
    assert str(caught.value) == (
        f"error: --results={tmp_path}: no mix has HyCAM, as the paper sets it, with all folds and another PEFT setting"
        " with all folds"
    )
