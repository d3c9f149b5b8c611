"""The model card of a saved adapter."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from peft import PeftConfig, get_peft_model

from hycam_exp.config.compose import compose
from hycam_exp.methods import attach, model_card
from hycam_exp.methods.hycam import HyCAMConfig
from tests.methods.conftest import tiny

ROOT = Path(__file__).parents[2]
METADATA = """---
base_model: BASE
library_name: peft
---
"""


@dataclass
class Score:
    """A row of a record."""

    task: str
    metric: str
    value: float | None
    n: int


def saved(folder: Path, **options) -> str:
    model = get_peft_model(tiny("llama"), HyCAMConfig(task_type="CAUSAL_LM", r=2))
    model.save_pretrained(folder, **options)
    return (folder / "README.md").read_text()


@pytest.mark.parametrize("method", ["hycam", "multi_lora", "riemoe_lora"])
@pytest.mark.filterwarnings("ignore:.*rank .* is above the width")
def test_the_card_has_the_lines_that_load_the_adapter(tmp_path, method):
    """PEFT's library tag, the install line of the README, the import, and the KeyError of a process without it."""
    attach(tiny("llama"), compose(f"method={method}").method).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    assert "library_name: peft" in card.split("---")[1]
    assert f"KeyError: '{method.upper()}'" in card
    assert model_card.INSTALL in card
    assert f"`{model_card.INSTALL}` in a clone" in (ROOT / "README.md").read_text()
    assert "More Information Needed" not in card


def test_the_cards_lines_are_what_a_stranger_needs(tmp_path):
    """Without the import PEFT raises the KeyError that the card names, with it the config is read."""
    card = saved(tmp_path)
    line = next(line for line in card.splitlines() if line.startswith("import "))
    read = f"from peft import PeftConfig\ntry:\n    print(PeftConfig.from_pretrained({str(tmp_path)!r}).r)"
    code = "\n".join([read, "except KeyError as error:\n    print(error)", line, read.replace("try:\n    ", "")])
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["'HYCAM'", "2"]


def test_what_an_author_wrote_stays(tmp_path):
    """Saved again, a card keeps its text and says nothing twice."""
    first = saved(tmp_path)
    (tmp_path / "README.md").write_text(first + "\nTrained on my own notes.\n")
    again = saved(tmp_path)
    assert "Trained on my own notes." in again
    assert again.count("import hycam_exp.methods") == 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text(METADATA + "\n# Mine\n")
    assert "# Mine" in saved(other)


def test_every_adapter_of_several_has_a_card(tmp_path):
    """An adapter with a name is in a folder of its own."""
    model = get_peft_model(tiny("llama"), HyCAMConfig(task_type="CAUSAL_LM", r=2))
    model.add_adapter("second", HyCAMConfig(task_type="CAUSAL_LM", r=3))
    model.save_pretrained(tmp_path)
    assert "KeyError: 'HYCAM'" in (tmp_path / "second" / "README.md").read_text()
    assert PeftConfig.from_pretrained(tmp_path / "second").r == 3


def test_scores_stand_at_the_end_once(tmp_path):
    """The rows of the record with a value; written again, the table is the new one."""
    saved(tmp_path)
    model_card.add_scores(tmp_path, "a-run", [Score("pooled", "ppl", 1.0, 3)])
    model_card.add_scores(tmp_path, "a-run", [Score("pooled", "ppl", 1.23456, 3), Score("x", "rouge_l", None, 0)])
    card = (tmp_path / "README.md").read_text()
    table = "| task | metric | value | n |\n| --- | --- | --- | --- |\n| pooled | ppl | 1.235 | 3 |\n"
    assert card.endswith(f"Of run a-run, on its test records.\n\n{table}")
    assert card.count(model_card.SCORES) == 1
    assert "import hycam_exp.methods" in card
