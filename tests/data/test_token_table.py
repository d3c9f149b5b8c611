"""The token file: what it holds, when it is made again, and that nothing can leave half of it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from hycam_exp.config.compose import compose
from hycam_exp.data import sources
from hycam_exp.data import token_table as module
from hycam_exp.data.records import Record, identified
from hycam_exp.data.token_table import key, token_table
from hycam_exp.data.tokens import encode
from hycam_exp.models.backbone import examine
from tests.conftest import LETTERS, letter_tokenizer

ROOT = Path(__file__).parents[2]


def records(*outputs: str) -> list[Record]:
    return identified(Record(task="dolly", instruction="Say it.", input="", output=o, group=o) for o in outputs)


MIX = records("abc", "d", "", "é世😀\n", "x" * 500)


def test_rows_are_the_records_tokens(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """The table has every record's tokens by id, the first time and when it is read again."""
    by_id = sorted(MIX, key=lambda record: record.id)
    for _ in range(2):
        table = token_table(MIX, letters, "alpaca", 300, tmp_path)
        assert list(table) == table[:] == encode(by_id, letters, "alpaca", 300)
        assert table.lengths == [len(row.input_ids) for row in table]


@given(st.lists(st.integers(0, len(MIX) - 1), max_size=9))
def test_selected_rows_are_in_the_order_asked_for(tmp_path_factory: pytest.TempPathFactory, places: list[int]) -> None:
    """A selection has the rows of its ids in their order, as often as they are named, and so has one of it."""
    table = token_table(MIX, letter_tokenizer(), "alpaca", 300, tmp_path_factory.getbasetemp() / "tokens")
    chosen = table.select(MIX[i].id for i in places)
    assert list(chosen) == [table[i] for i in places]
    assert chosen.lengths == [table.lengths[i] for i in places]
    assert list(chosen.select(row.id for row in reversed(chosen))) == [table[i] for i in reversed(places)]


def test_records_without_room_are_told(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A record whose prompt fills the length is told by its id."""
    wordy = identified([*MIX, replace(MIX[0], instruction="y" * 400)])
    table = token_table(wordy, letters, "alpaca", 300, tmp_path)
    assert table.without_response == {r.id for r in wordy if len(r.instruction) == 400}


def test_file_is_made_once(letters: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is, nothing is tokenised, and the order of the records is no matter."""
    first = token_table(MIX, letters, "alpaca", 300, tmp_path)
    monkeypatch.delattr(module, "encode")
    assert list(token_table(MIX[::-1], letters, "alpaca", 300, tmp_path)) == list(first)


def ending(tokenizer: PreTrainedTokenizerFast, eos: str, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    tokenizer.eos_token, tokenizer.chat_template = eos, chat_template
    return tokenizer


@pytest.mark.parametrize(
    ("of", "tokenizer", "style", "max_length"),
    [
        (MIX[1:], letter_tokenizer(), "alpaca", 300),
        ([replace(MIX[0], group="another"), *MIX[1:]], letter_tokenizer(), "alpaca", 300),
        (MIX, letter_tokenizer(merges=(("a", "b"),)), "alpaca", 300),
        (MIX, letter_tokenizer(ends=True), "alpaca", 300),
        (MIX, ending(letter_tokenizer(), "z"), "alpaca", 300),
        (MIX, ending(letter_tokenizer(), "</s>", "{{ messages }}"), "alpaca", 300),
        (MIX, letter_tokenizer(), "plain", 300),
        (MIX, letter_tokenizer(), "alpaca", 301),
    ],
    ids=["content", "group", "merges", "post-processor", "eos", "chat template", "style", "length"],
)
def test_anything_that_decides_tokens_makes_another_file(
    of: list[Record], tokenizer: PreTrainedTokenizerFast, style: str, max_length: int
) -> None:
    """Content, group, tokenizer, its EOS and chat template, style and length are in the key."""
    assert key(of, tokenizer, style, max_length) != key(MIX, letter_tokenizer(), "alpaca", 300)


def test_key_is_of_content_alone(letters: PreTrainedTokenizerFast) -> None:
    """The same records and tokenizer give the same key in another process, order, or state of use."""
    used = letter_tokenizer()
    used.backend_tokenizer.enable_truncation(2)
    used.backend_tokenizer.enable_padding(length=9)
    assert key(MIX[::-1], used, "alpaca", 300) == key(MIX, letters, "alpaca", 300)


def test_another_version_makes_another_file(letters: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that makes other tokens has another `RESULTS_VERSION`, and finds no file of the one before."""
    before = key(MIX, letters, "alpaca", 300)
    monkeypatch.setattr(module, "RESULTS_VERSION", module.RESULTS_VERSION + 1)
    assert key(MIX, letters, "alpaca", 300) != before


@pytest.mark.parametrize("name", ["*.arrow", "*.sha256"])
def test_a_flipped_bit_is_seen(
    letters: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Anywhere in the file or its seal: a note names the file, and its tokens are made again, the same bytes."""
    token_table(MIX, letters, "alpaca", 300, tmp_path)
    (path,), (damaged,) = tmp_path.glob("*.arrow"), tmp_path.glob(name)
    whole, content = path.read_bytes(), damaged.read_bytes()
    for place in range(0, len(content), 97):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        damaged.unlink()  # what is mapped into memory stays
        damaged.write_bytes(flipped)
        token_table(MIX, letters, "alpaca", 300, tmp_path)
        assert capsys.readouterr().err == f"note: {path}: damaged, or never sealed; its tokens are made again\n"
        assert path.read_bytes() == whole
    token_table(MIX, letters, "alpaca", 300, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_damaged_file_is_made_again(letters: PreTrainedTokenizerFast, tmp_path: Path, share: float) -> None:
    """A file that was cut off is replaced by a whole one."""
    whole = list(token_table(MIX, letters, "alpaca", 300, tmp_path))
    (path,) = tmp_path.glob("*.arrow")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: int(len(content) * share)])
    assert list(token_table(MIX, letters, "alpaca", 300, tmp_path)) == whole
    assert path.read_bytes() == content


def test_interruption_leaves_nothing(
    letters: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where tokenising fails in the second chunk, the folder is as it was."""
    chunks = iter([encode(MIX[:2], letters, "alpaca", 300)])
    monkeypatch.setattr("hycam_exp.data.tokens.CHUNK", 2)
    monkeypatch.setattr(module, "encode", lambda *_: next(chunks))
    with pytest.raises(StopIteration):
        token_table(MIX, letters, "alpaca", 300, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_swept(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A part that nobody writes any more goes with the next file that is made; one that is being written stays."""
    old, new = (tmp_path / f".key.arrow.{letter * 32}" for letter in "ab")
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    token_table(MIX, letters, "alpaca", 300, tmp_path)
    assert [path for path in (old, new) if path.exists()] == [new]


def mini() -> tuple[list[Record], PreTrainedTokenizerFast]:
    """Records enough for two processes to meet, and the tokenizer of the embedded backbone."""
    run = compose()
    tokenizer = examine(run.model, run.trainer, run.recipe.precision).tokenizer
    return sources.read(["mini_passage", "mini_sources"], None).records, tokenizer


BUILD = """
import sys
from pathlib import Path
from tests.data.test_token_table import mini, token_table
records, tokenizer = mini()
print("ready", flush=True); sys.stdin.readline()
table = token_table(records, tokenizer, "alpaca", 512, Path(sys.argv[1]))
print(len(table), sum(table.lengths), flush=True)
"""


def test_two_processes_at_once_make_one_whole_file(tmp_path: Path) -> None:
    """Two processes that tokenise the same records at the same time both get all of them, and one file is left."""
    command, pipe = [sys.executable, "-c", BUILD, str(tmp_path)], subprocess.PIPE
    other = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    assert other.stdout is not None
    assert other.stdin is not None
    all_records, tokenizer = mini()
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    table = token_table(all_records, tokenizer, "alpaca", 512, tmp_path)
    out, err = other.communicate(timeout=120)
    assert other.returncode == 0, err
    assert out == f"{len(table)} {sum(table.lengths)}\n"
    assert len(table) == 4000
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".arrow", ".sha256"]


def test_letters_cover_the_mix() -> None:
    """The toy records say nothing that the toy tokenizer does not know."""
    assert set("".join(r.output for r in MIX)) <= set(LETTERS)
