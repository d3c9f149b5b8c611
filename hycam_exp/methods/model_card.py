"""The model card beside a saved adapter: what it is, the lines that load it, and a run's scores."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

INSTALL = "pip install ."
"""What installs this package, in a clone of the project: the README's line."""
CARD = "README.md"
UNTOUCHED = "# Model Card for Model ID"  # how the template that PEFT fills in begins
SCORES = "## Scores"


def write(folder: Path, config: Any) -> None:
    """Say in the card of a saved adapter what it is and how it is loaded; a card that says so is left alone.

    PEFT writes a card as well, of its metadata and an empty template: the metadata stay.
    """
    metadata, body = _parts(folder)
    base = config.base_model_name_or_path or "the model that it was trained on"
    kind = config.peft_type.value
    if "import hycam_exp.methods" in body:
        return
    own = f"""# An adapter of type {kind}

It adapts {base}. Its settings are in adapter_config.json. To load it, install hycam_exp (`{INSTALL}` in a clone of the
project) and import it first; without the import PEFT knows no such type and says `KeyError: '{kind}'`:

```python
import hycam_exp.methods  # registers {kind} with PEFT
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{config.base_model_name_or_path or "BASE"}")
model = PeftModel.from_pretrained(model, "THIS FOLDER")
```
"""
    (folder / CARD).write_text(metadata + own + ("" if body.lstrip().startswith(UNTOUCHED) else f"\n{body}"))


def add_scores(folder: Path, run_id: str, scores: Iterable[Any]) -> None:
    """A table of a run's scores at the end of its adapter's card: rows of task, metric, value and n."""
    metadata, body = _parts(folder)
    rows = [f"| {s.task} | {s.metric} | {s.value:.4g} | {s.n} |" for s in scores if s.value is not None]
    table = "\n".join([f"{SCORES}\n\nOf run {run_id}, on its test records.\n", "| task | metric | value | n |",
                       "| --- | --- | --- | --- |", *rows])  # fmt: skip
    (folder / CARD).write_text(metadata + body.split(SCORES)[0].rstrip("\n") + f"\n\n{table}\n")


def _parts(folder: Path) -> tuple[str, str]:
    """The metadata of a card, with PEFT's library tag, and the text after them."""
    path = folder / CARD
    text = path.read_text() if path.is_file() else ""
    if not text.startswith("---\n"):
        return "---\nlibrary_name: peft\n---\n\n", text
    metadata, _, body = text.removeprefix("---\n").partition("\n---\n")
    return f"---\n{metadata}\n---\n\n", body.lstrip("\n")
