"""Table 1: exact on toys, and the paper's own Auto-CoT row to the token."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_prep import stats
from hycam_exp.data.prompts import TEMPLATES
from hycam_exp.data.records import Record
from tests.conftest import letter_tokenizer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three Auto-CoT records with answers of 1, 2 and 300 letters, and a row that is rejected."""
    rows = [{"instruction": "Q", "input": "", "output": "x" * n} for n in (1, 300, 2)] + [{"instruction": "Q"}]
    (tmp_path / "autocot").mkdir()
    (tmp_path / "autocot" / "rows.json").write_text(json.dumps(rows))
    return tmp_path


def prompt_length() -> int:
    return 1 + len(TEMPLATES["alpaca"].prompt(Record(task="", instruction="Q", input="", output="", group="")))


def test_tokens_are_bos_prompt_and_output(root: Path) -> None:
    """Totals and averages count BOS, prompt and output, but no EOS; percentiles are lengths that occur."""
    row = stats.measured("auto_cot", root, letter_tokenizer(), "alpaca", 1200)
    base = prompt_length()
    assert row.lengths == [base + 1, base + 2, base + 300]
    assert (row.samples, row.rejected, row.files) == (3, 1, ["rows.json"])
    assert (row.total, row.average) == (3 * base + 303, round((3 * base + 303) / 3, 2))
    assert [row.percentile(p) for p in (1, 33, 34, 50, 67, 100)] == [
        base + n for n in (1, 1, 2, 2, 300, 300)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("room", "cut", "without"), [(302, 0, 0), (301, 0, 0), (300, 1, 0), (2, 2, 0), (1, 3, 0), (0, 3, 3)]
)
def test_truncated_are_those_that_lose_a_token(root: Path, room: int, cut: int, without: int) -> None:
    """A record is cut if it and its EOS do not fit, and lost if not even a first response token does."""
    row = stats.measured("auto_cot", root, letter_tokenizer(), "alpaca", prompt_length() + room)
    assert row.truncated == pytest.approx(cut / 3)
    assert row.without_response == without


def test_without_a_tokenizer_tokens_are_absent(root: Path) -> None:
    """Samples are counted, tokens are null: never another tokenizer's number beside the paper's."""
    rows = [stats.measured("auto_cot", root, None, "alpaca", 1200)]
    (row,) = stats.report(rows)["rows"]
    assert row["measured"] == {"samples": 3, "total_tokens": None, "average": None}
    assert row["published"]["total_tokens"] == 943474
    assert row["percentiles"] is row["truncated"] is None
    assert "--tokenizer" in stats.printed(rows)


def test_auto_cot_row_is_the_papers(tmp_path: Path, shared: Path) -> None:
    """With Llama 3's tokenizer: 5,816 samples, 943,474 tokens, 162.22 on average, as published."""
    (tmp_path / "auto_cot").symlink_to(shared / "data" / "auto_cot")
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "llama3")
    rows = [stats.measured("auto_cot", tmp_path, tokenizer, "alpaca", 1200)]
    (row,) = stats.report(rows)["rows"]
    assert row["measured"] == {"samples": 5816, "total_tokens": 943474, "average": 162.22}
    assert row["measured"] == {key: row["published"][key] for key in row["measured"]}
    assert (row["truncated"], row["max_length"]) == (0.0, 1200)
    line = next(line for line in stats.printed(rows).splitlines() if line.startswith("auto_cot"))
    assert line.split()[1:7] == ["5,816", "943,474", "162.22"] * 2
