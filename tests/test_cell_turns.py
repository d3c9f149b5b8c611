"""What a cell makes of chat templates and ends of turns, and that it needs no home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_prep.preview import EMBEDDED
from hycam_exp.cell import Cell, run_cell
from hycam_exp.evaluation.generation import Decoder
from hycam_exp.records.record import RunRecord
from tests.test_cell import quick


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """The record of a cell with the tokenizer's own EOS."""
    return run_cell(quick(tmp_path_factory.mktemp("cell")))


def chatting(folder: Path, template: str) -> str:
    """An override for the embedded tokenizer with a chat template."""
    copy = folder / "tokenizer"
    shutil.copytree(EMBEDDED, copy)
    (copy / "chat_template.jinja").write_text(template)
    return f"model.path={copy}"


def test_a_broken_chat_template_is_refused_before_loading(tmp_path, monkeypatch):
    """A template that cannot render a record is named before any weight is read."""
    monkeypatch.setattr(Cell, "_load", None)
    broken = chatting(tmp_path, "{{ raise_exception('needs tools') }}")
    with pytest.raises(ValueError, match=r"^data\.prompt=chat: the chat template of .* \(TemplateError: needs tools\)"):
        run_cell(quick(tmp_path, broken, "data.prompt=chat"))


def test_another_end_of_turn_is_said_before_training_and_kept(tmp_path, capsys, monkeypatch):
    """What the chat template ends turns with is said before training, noted in the record, and gone with `data.eos`."""
    turns = "{% for m in messages %}{{ m.content }}<|pad|>\n{% endfor %}"
    override = chatting(tmp_path, turns)
    said = []
    load = Cell._load

    def loading(self):
        said.append(capsys.readouterr().err)
        return load(self)

    monkeypatch.setattr(Cell, "_load", loading)
    record = run_cell(quick(tmp_path, override, "data.prompt=chat", "evaluation.test=false"))
    told = "the chat template ends an answer with <|pad|>, and responses are trained to end with <|eos|>: data.eos="
    assert told in said[0]
    assert any(note.startswith(told) for note in record.notes)
    named = run_cell(quick(tmp_path, override, "data.prompt=chat", "evaluation.test=false", "data.eos='<|pad|>'"))
    assert "ends an answer" not in said[1]
    assert not any(note.startswith(told) for note in named.notes)
    assert named.run_id != record.run_id


def test_named_eos_is_trained_scored_and_saved(plain, tmp_path):
    """`data.eos` ends the rows that are trained and scored, stops decoding, and is the saved tokenizer's EOS."""
    run = quick(tmp_path, "data.eos='<|bos|>'")
    seen = []

    class Seeing(Decoder):
        def decode(self, rows):
            seen.extend((row.input_ids[-1], self.tokenizer.eos_token_id) for row in rows)
            return super().decode(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hycam_exp.evaluation.generation.Decoder", Seeing)
        record = run_cell(run)
    saved = AutoTokenizer.from_pretrained(tmp_path / "outputs" / record.run_id / "adapter")
    assert saved.eos_token == "<|bos|>"
    assert set(seen) == {(saved.convert_tokens_to_ids("<|bos|>"),) * 2}
    assert record.score("ppl", "mean") != plain.score("ppl", "mean")


def test_an_eos_that_the_tokenizer_lacks_is_refused_before_loading(tmp_path, monkeypatch):
    """A name that is no special token of the tokenizer is refused with those that are."""
    monkeypatch.setattr(Cell, "_load", None)
    with pytest.raises(ValueError, match=r"^data\.eos=<\|eot\|>: no special token of .*, which has <\|bos\|>"):
        run_cell(quick(tmp_path, "data.eos='<|eot|>'"))


HOMELESS = """
import os, pwd, sys
from pathlib import Path
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
from tests.test_cell import quick, run_cell
assert os.path.expanduser("~") == "~", "no home is known"
print(run_cell(quick(Path(sys.argv[1]))).score("rouge_l", "mean"))
"""


def test_a_cell_needs_no_home(plain, tmp_path):
    """Without HOME and with an unknown user a cell gives what it gives anywhere, ROUGE-L included."""
    names = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "HF_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS, str(tmp_path)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == plain.score("rouge_l", "mean")
