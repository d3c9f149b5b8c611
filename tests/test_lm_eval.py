"""lm-evaluation-harness on an adapted model, from its own command line."""

import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from hycam_exp import lm_eval
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.models import files
from tests.methods.conftest import perturb

BACKBONE = files.ASSETS / "tiny_llama"
TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
"""
DOCUMENTS = [
    {"question": f"What is {a} plus {b}?", "choices": [str(a + b + off) for off in (-1, 0, 1)], "answer": 1}
    for a, b in ((2, 3), (4, 1), (7, 2), (5, 5), (12, 9), (30, 31), (3, 3), (8, 14))
]


def test_without_the_harness_one_line_names_the_extra():
    """Exit status 1, the command that installs it, and no traceback."""
    code = (
        "import runpy, sys; sys.modules['lm_eval'] = None; "
        "runpy.run_module('hycam_exp.lm_eval', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: lm_eval is not installed: pip install 'hycam-exp[eval]'\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Tasks not found: sumz",
            "error: Tasks not found: sumz; `python -m hycam_exp.lm_eval ls tasks` lists them, --include_path DIR adds "
            "your own",
        ),
        (
            "Can't find 'adapter_config.json' at 'outputs/nope'",
            "error: Can't find 'adapter_config.json' at 'outputs/nope'; peft= is the folder outputs/RUN_ID/adapter of "
            "a finished run",
        ),
        ("another", None),
    ],
)
def test_an_unknown_task_or_adapter_is_one_line(monkeypatch, said, shown):
    """It names the task or the folder, and the way out; any other error of the harness keeps its traceback."""

    def evaluate() -> None:
        raise ValueError(said)

    harness, entry = ModuleType("lm_eval"), ModuleType("lm_eval.__main__")
    harness.__spec__, entry.cli_evaluate = ModuleSpec("lm_eval", None), evaluate
    monkeypatch.setitem(sys.modules, "lm_eval", harness)
    monkeypatch.setitem(sys.modules, "lm_eval.__main__", entry)
    with pytest.raises(SystemExit if shown else ValueError) as caught:
        lm_eval.main()
    assert str(caught.value) == (shown or said)


def backbone():
    return AutoModelForCausalLM.from_pretrained(BACKBONE, dtype=torch.float32).eval()


def adapter(folder: Path) -> Path:
    """A saved HyCAM adapter, off its initial values."""
    model = get_peft_model(backbone(), HyCAMConfig(task_type="CAUSAL_LM", r=4, num_specialized=3))
    perturb(model, 0.2)
    model.save_pretrained(folder)
    return folder


def choice_scores(model) -> list[list[float]]:
    """The log-likelihood of every choice after its question, one forward each."""
    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    scores = []
    for document in DOCUMENTS:
        asked = len(tokenizer.encode(document["question"]))
        rows = [tokenizer.encode(f"{document['question']} {choice}") for choice in document["choices"]]
        scores.append([_score(model, torch.tensor([row]), asked) for row in rows])
    return scores


def _score(model, ids: torch.Tensor, asked: int) -> float:
    with torch.no_grad():
        log_probabilities = model(ids).logits.log_softmax(-1)
    return sum(log_probabilities[0, at - 1, ids[0, at]].item() for at in range(asked, ids.shape[1]))


def evaluate(folder: Path, model_args: str) -> tuple[float, list[list[float]]]:
    """The harness's accuracy and log-likelihoods, from its command line, offline."""
    (folder / "sums.jsonl").write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    (folder / "sums.yaml").write_text(TASK.format(file=folder / "sums.jsonl"))
    options = {
        "--model": "hf",
        "--model_args": f"pretrained={BACKBONE},dtype=float32,{model_args}",
        "--tasks": "sums",
        "--include_path": str(folder),
        "--device": "cpu",
        "--batch_size": "4",
        "--output_path": str(folder / "scores"),
    }
    command = [sys.executable, "-m", "hycam_exp.lm_eval", "run", "--log_samples"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    done = subprocess.run(
        [*command, *(word for option in options.items() for word in option)],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(next((folder / "scores").rglob("results_*.json")).read_text())
    lines = next((folder / "scores").rglob("samples_sums_*.jsonl")).read_text().splitlines()
    samples = sorted((json.loads(line) for line in lines), key=lambda sample: sample["doc_id"])
    return results["results"]["sums"]["acc,none"], [
        [float(response[0]) for response in sample["filtered_resps"]] for sample in samples
    ]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="no lm_eval: pip install 'hycam-exp[eval]'")
def test_the_harness_scores_the_adapted_model(tmp_path):
    """Its log-likelihoods and accuracy are those of one forward a choice by the adapted model, not the backbone's."""
    folder = adapter(tmp_path / "adapter")
    accuracy, found = evaluate(tmp_path, f"peft={folder}")
    expected = choice_scores(PeftModel.from_pretrained(backbone(), folder).eval())
    for mine, theirs in zip(expected, found, strict=True):
        assert theirs == pytest.approx(mine, abs=1e-3)
    best = [scores.index(max(scores)) for scores in expected]
    right = [choice == document["answer"] for choice, document in zip(best, DOCUMENTS, strict=True)]
    assert accuracy == sum(right) / len(right)
    for mine, other in zip(expected, choice_scores(backbone()), strict=True):
        assert mine != pytest.approx(other, abs=0.1)
