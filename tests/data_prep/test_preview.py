"""The preview is the view of training: its tokens, its labels, its padding."""

import re
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from data_prep import preview
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, tokenise


def rows(tokenizer: PreTrainedTokenizerFast, *outputs: str, max_length: int = 500) -> list[Tokens]:
    records = [
        Record(task="t", instruction="Q", input="", output=o, group="g", id=str(n)) for n, o in enumerate(outputs)
    ]
    return tokenise(records, tokenizer, "alpaca", max_length)[0]


def test_kinds_and_labels_are_those_of_the_batch(letters: PreTrainedTokenizerFast) -> None:
    """Prompt and padding have no label; each response token and EOS has its own id as label."""
    short, long = preview.padded(rows(letters, "a", "abc"), letters, "response")
    assert [token.kind for token in short] == ["prompt"] * (len(short) - 4) + ["response", "EOS", "padding", "padding"]
    assert [token.kind for token in long[-4:]] == ["response"] * 3 + ["EOS"]
    for token in (*short, *long):
        assert token.label == (token.id if token.kind in ("response", "EOS") else None)
    assert "".join(token.text for token in long[1:]).endswith("### Response:abc</s>")


def test_loss_on_all_labels_the_prompt_too(letters: PreTrainedTokenizerFast) -> None:
    """With loss on everything, only the first token and the padding have no label."""
    (row,) = preview.padded(rows(letters, "a"), letters, "all")
    assert [token.label is None for token in row] == [True] + [False] * (len(row) - 1)


def test_cut_response_has_no_eos(letters: PreTrainedTokenizerFast) -> None:
    """A truncated record ends in the response, and says so."""
    found = rows(letters, "abcdef", max_length=len(rows(letters, "a")[0].input_ids))
    (row,) = preview.padded(found, letters, "response")
    assert [token.kind for token in row[-2:]] == ["response", "response"]
    assert "cut on the right" in preview.printed(found, letters, "response", colour=False, ids=False)


def test_colours_only_paint(letters: PreTrainedTokenizerFast) -> None:
    """In colour the text is the same; prompt, response and EOS have different ones, on every line."""
    found = rows(letters, "one\ntwo", "x")
    plain = preview.printed(found, letters, "response", colour=False, ids=False)
    painted = preview.printed(found, letters, "response", colour=True, ids=False)
    assert re.sub(r"\033\[[\d;]*m", "", painted) == plain
    assert "\033[32mone\033[0m\n\033[32mtwo\033[0m" in painted
    assert "\033[1;31m</s>\033[0m" in painted
    assert "[padding: 6, not trained]" in plain
    assert "[response: 7, trained]" in plain


def test_escapes_in_a_record_are_shown(letters: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would clear the screen or set its title is text, in both forms."""
    monkeypatch.setattr(preview, "_text", lambda tokenizer, ids: "\x1b[2J")
    for ids in (False, True):
        text = preview.printed(rows(letters, "a"), letters, "response", False, ids)
        assert "\x1b" not in text
        assert "\\x1b[2J" in text


def test_ids_are_a_line_for_every_token(letters: PreTrainedTokenizerFast) -> None:
    """With ids each position has its kind, id, label and token."""
    text = preview.printed(rows(letters, "é"), letters, "response", colour=False, ids=True)
    *_, last, eos = (line.split() for line in text.splitlines())
    ids = [str(letters.convert_tokens_to_ids(token)) for token in ("é", "</s>")]
    assert last[1:] == ["response", ids[0], ids[0], "'\\xe9'"]
    assert eos[1:] == ["EOS", ids[1], ids[1], "'</s>'"]


def test_generated_set_is_shown_without_a_root(letters: PreTrainedTokenizerFast) -> None:
    """Without a root it is the mini set's records; too short a length is an error."""
    assert len(preview.rows("mini_passage", None, letters, "plain", 2000, 2)) == 2
    with pytest.raises(ValueError, match="the first 2 records of mini_passage keep no response token in 8 tokens"):
        preview.rows("mini_passage", None, letters, "alpaca", 8, 2)


def test_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """A folder without tokenizer.json is named."""
    with pytest.raises(ValueError, match=r"--tokenizer .*: no tokenizer\.json there"):
        preview.tokenizer_at(tmp_path)
