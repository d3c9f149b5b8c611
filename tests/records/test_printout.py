"""What a finished cell prints."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.data.records import Rejection
from hycam_exp.evaluation.metrics import Score
from hycam_exp.records import printout
from hycam_exp.records.record import PeakMemory, RunRecord
from hycam_exp.records.store import Store
from tests.made import COUNTS, made

ID = "tiny-lora-mini-f0-s1-0123abcd"
STORE = Store(Path("/data/[old]/results/runs"), Path("/data/[/old]/outputs"))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal wide enough that no cell of a table is folded."""
    monkeypatch.setenv("COLUMNS", "200")


def score(task: str, metric: str, value: float | None, n: int = 1) -> Score:
    return Score(task=task, metric=metric, value=value, n=n)


def record(*scores: Score, notes: tuple[str, ...] = (), stopped_early: bool = False) -> RunRecord:
    used = replace(COUNTS, train=7, validation=2, test=1, train_truncated=3, validation_truncated=2, test_truncated=1)
    records = {
        "dolly": replace(used, rows=1500, rejected=4, too_long=5),
        "web_gpt": replace(used, rows=500, rejected=0, too_long=1),
    }
    base = made()
    return made(
        run_id=ID,
        scores=list(scores),
        fit=replace(base.fit, steps=40, best_step=30, best_validation_loss=1.23456, stopped_early=stopped_early),
        counts=replace(base.counts, parameters_trainable=12_500, parameters_total=1_000_000, records=records),
        config={**base.config, "data": {"name": "mix", "tasks": ["dolly", "web_gpt"]}},
        cost=replace(
            base.cost, seconds={"load": 0.25, "train": 61.04}, peak_memory=PeakMemory(kind="rss", bytes=1536 * 2**20)
        ),
        notes=list(notes),
    )


def printed(capsys: pytest.CaptureFixture[str], of: RunRecord, remark: str | None = None) -> tuple[list, dict]:
    """The table's rows as lists of cells, and the facts below it by name."""
    printout.finished(of, STORE, remark)
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in out.splitlines() if line[0] in "│┃"]
    facts: dict[str, list[str]] = {}
    for name, value in re.findall(r"^ *([\w ]+): (.*)$", out, flags=re.MULTILINE):
        facts.setdefault(name, []).append(value)
    return rows, facts


def test_table_has_a_row_for_each_task_mean_and_pooled(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks in the mix's order, then their mean and the pooled value; what is absent is a dash, not a number."""
    of = record(
        score("dolly", "ppl_before", 1234.5678), score("dolly", "ppl", 4.0), score("dolly", "bleu4", 0.12345),
        score("web_gpt", "ppl", 8.0), score("mean", "ppl", 6.0, 2), score("pooled", "ppl", 5.5),
        score("pooled", "bleu4", None),
    )  # fmt: skip
    assert printed(capsys, of)[0] == [
        ["task", "PPL before", "PPL", "BLEU-4", "ROUGE-L"],
        ["dolly", "1,234.568", "4.000", "0.123", "-"],
        ["web_gpt", "-", "8.000", "-", "-"],
        ["mean", "-", "6.000", "-", "-"],
        ["pooled", "-", "5.500", "-", "-"],
    ]


def test_a_mean_over_fewer_tasks_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A task without a test record is in no mean, and the row does not hide it."""
    of = record(score("dolly", "ppl", 4.0), score("mean", "ppl", 4.0, 1))
    assert ["mean of 1/2", "4.000", "-", "-"] in printed(capsys, of)[0]


def test_overlap_before_adaptation_is_shown_where_it_was_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of the unadapted backbone stand left of the adapted one's."""
    of = record(
        score("dolly", "bleu4_before", 0.1), score("dolly", "bleu4", 0.2), score("dolly", "rouge_l_before", 0.3)
    )
    assert printed(capsys, of)[0][:2] == [
        ["task", "PPL", "BLEU-4 before", "BLEU-4", "ROUGE-L before", "ROUGE-L"],
        ["dolly", "-", "0.100", "0.200", "0.300", "-"],
    ]


def test_facts_of_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """Retention, parameters, the best validation, seconds in all and by phase, memory, and records over tasks."""
    of = record(
        score("retention", "ppl_before", 10.0), score("retention", "ppl", 11.5), score("retention", "ppl_change", 0.15)
    )
    facts = printed(capsys, of)[1]
    assert facts["general text PPL"] == ["10.000 -> 11.500 (+15.0%)"]
    assert facts["trainable parameters"] == ["12,500 of 1,000,000 (1.25%)"]
    assert facts["best validation loss"] == ["1.2346 at step 30 of 40"]
    assert facts["seconds"] == ["61.3: load 0.2, train 61.0"]
    assert facts["peak memory"] == ["1,536 MiB (rss)"]
    assert facts["records"] == ["2,000 read, 10 rejected, 12 truncated"]
    assert facts["split"] == ["train 14, validation 4, test 2"]


def test_absent_retention_and_early_stopping_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """General text that was not measured is no number; training that stopped early says so."""
    facts = printed(capsys, record(score("retention", "ppl_change", None), stopped_early=True))[1]
    assert facts["general text PPL"] == ["not measured"]
    assert facts["best validation loss"] == ["1.2346 at step 30 of 40, stopped early"]


def test_notes_remark_and_places_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets and colons in a text are no markup, and a long line is not folded."""
    long = "x" * 300
    of = record(score("mean", "bleu4", 0.5), notes=("see [/a] and [b]", ":smile: [link=x]"))
    facts = printed(capsys, of, remark=long)[1]
    assert facts["note"] == ["see [/a] and [b]", ":smile: [link=x]", long]
    assert facts["record"] == [f"/data/[old]/results/runs/{ID}.json"]
    assert facts["adapter"] == [f"/data/[/old]/outputs/{ID}/adapter"]
    assert facts["predictions"] == [f"/data/[/old]/outputs/{ID}/predictions"]
    assert "predictions" not in printed(capsys, record())[1], "nothing was decoded"


def rejection(line: int, reason: str = "no output", source: str = "a.json") -> Rejection:
    return Rejection(task="dolly", source=source, line=line, reason=reason)


def test_rejections_are_counted_with_their_first_places(capsys: pytest.CaptureFixture[str]) -> None:
    """Each task and reason is one line on stderr with the first three places; there are dots where more follow."""
    printout.rejections([*(rejection(n) for n in range(1, 5)), rejection(9, "score is [/b], not a number", "[b].json")])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "rejected 4 rows, dolly: no output (a.json:1, a.json:2, a.json:3, ...)",
        "rejected 1 rows, dolly: score is [/b], not a number ([b].json:9)",
    ]


def test_three_rejections_are_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """No dots where every place is named, and nothing at all where nothing was rejected."""
    printout.rejections([rejection(n) for n in (1, 2, 3)])
    printout.rejections([])
    assert capsys.readouterr().err == "rejected 3 rows, dolly: no output (a.json:1, a.json:2, a.json:3)\n"


def test_no_number_of_a_cell_is_cut_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six columns of scores in 80 columns: headings break, values do not."""
    monkeypatch.setenv("COLUMNS", "80")
    names = ("ppl_before", "ppl", "bleu4_before", "bleu4", "rouge_l_before", "rouge_l")
    values = (12345.678, 1234.567, 0.123, 0.456, 0.234, 0.567)
    printout.finished(record(*map(score, ["dolly"] * 6, names, values)), STORE)
    table = capsys.readouterr().out.split("general text")[0]
    row = next(line for line in table.splitlines() if "dolly" in line)
    assert re.findall(r"[\d.,]+", row) == [f"{value:,.3f}" for value in values]
    assert max(map(len, table.splitlines())) <= 80
