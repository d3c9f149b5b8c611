"""General text as windows: each token but a window's first scored once."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from hycam_exp.evaluation import perplexity
from hycam_exp.evaluation.retention import documents, rows
from tests.conftest import LETTERS, letter_tokenizer

words = st.lists(st.sampled_from(["a", "b c", " ", "\n", "\n\n"]), max_size=20).map("".join)


def ids_of(text: str) -> list[int]:
    return [3 + LETTERS.index(letter) for letter in text]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "general.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def without_bos() -> PreTrainedTokenizerFast:
    tokenizer = letter_tokenizer()
    tokenizer.bos_token = None
    return tokenizer


@pytest.mark.parametrize("gap", ["\n\n", "\n\n\n\n", "\n \n", "\n \t\n\n", "\r\n\r\n"])
def test_blank_lines_part_documents(tmp_path: Path, letters: PreTrainedTokenizerFast, gap: str) -> None:
    """One blank line or several, with spaces in them or not, end a document; single line ends do not."""
    path = write(tmp_path, f"{gap}one\ntwo{gap}three{gap}")
    assert [row.input_ids for row in rows(path, letters, 100)] == [[1, *ids_of("one\ntwo")], [1, *ids_of("three")]]


@given(words)
def test_documents_hold_all_the_text(text: str) -> None:
    """Nothing but white space is lost, and no document is empty or has a blank line."""
    found = documents(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(document and document == document.strip() for document in found)
    assert all(line.strip() for document in found for line in document.split("\n"))


def test_windows_begin_with_bos_and_do_not_overlap(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    """A document of 11 tokens in windows of 5 is BOS with 4, 4 and 3 of them; a document begins a new window."""
    path = write(tmp_path, "abcdefghijk\n\nxyz")
    expected = [[1, *ids_of(part)] for part in ("abcd", "efgh", "ijk", "xyz")]
    found = rows(path, letters, 5)
    assert [row.input_ids for row in found] == expected
    assert {(row.task, row.prompt_length, row.ends, row.response_bytes) for row in found} == {
        ("retention", 1, False, 0)
    }


def test_windows_without_bos(tmp_path: Path) -> None:
    """Where there is no BOS a window's first token is not scored, and a single token is no window."""
    path = write(tmp_path, "abcdefghijk\n\nxyz\n\nq")
    assert [r.input_ids for r in rows(path, without_bos(), 5)] == [ids_of(part) for part in ("abcde", "fghij", "xyz")]


def test_ids_differ_and_are_the_same_at_every_call(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    """Equal windows are told apart by their place."""
    path = write(tmp_path, "same\n\nsame\n\nsame")
    ids = [row.id for row in rows(path, letters, 50)]
    assert len(set(ids)) == 3
    assert ids == sorted(ids) == [row.id for row in rows(path, letters, 50)]


def test_byte_order_mark_is_no_text(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    """A byte order mark at the start of the file is not scored."""
    assert [row.input_ids for row in rows(write(tmp_path, "\ufeffabc"), letters, 50)] == [[1, *ids_of("abc")]]


def test_name_of_a_special_token_is_text(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    """`</s>` in general text is four characters."""
    assert [row.input_ids for row in rows(write(tmp_path, "a</s>"), letters, 50)] == [[1, *ids_of("a</s>")]]


def test_perplexity_is_over_every_token_of_the_text(
    tmp_path: Path, small_llama: LlamaForCausalLM, letters: PreTrainedTokenizerFast
) -> None:
    """With BOS in each window, the windows' scored tokens are the documents' tokens, and no nats are lost."""
    found = perplexity.score(small_llama, rows(write(tmp_path, "abcdefghijk\n\nxyz"), letters, 5), 2, 2)
    assert sum(sample.tokens for sample in found) == 11 + 3
    assert all(math.isfinite(s.nats) and s.nats == s.all_nats and s.tokens == s.all_tokens for s in found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no text in it"), (b" \n\n\n", "no text in it"), (b"caf\xe9", "can't decode byte 0xe9")],
)
def test_file_without_text_is_refused(
    tmp_path: Path, letters: PreTrainedTokenizerFast, content: bytes, reason: str
) -> None:
    """An empty file and one in another encoding are named."""
    with pytest.raises(ValueError, match=rf"model.retention_text=.*general\.txt: .*{reason}"):
        rows(write(tmp_path, content), letters, 50)


def test_missing_file_is_refused(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    """A file that is not there is named."""
    with pytest.raises(ValueError, match=r"model.retention_text=.*nowhere\.txt: .*No such file"):
        rows(tmp_path / "nowhere.txt", letters, 50)
