"""An answer from a finished run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from data_prep.preview import EMBEDDED
from hycam_exp import generate
from hycam_exp.cell import run_cell
from hycam_exp.config.settings import PROMPT_STYLES
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import tokenise
from hycam_exp.evaluation.generation import Decoder
from tests.test_cell import quick


@pytest.fixture(scope="module", params=["hycam", "full_ft"])
def finished(request, tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("generate")
    return folder, run_cell(quick(folder, f"method={request.param}", "recipe.learning_rate=1e-2")).run_id


def test_the_answer_is_the_runs_own_prediction(finished):
    """The reloaded model decodes a test prompt exactly as the run did."""
    from data_prep.auto_cot import fields
    from data_prep.mini import generator

    folder, run_id = finished
    lines = (folder / "outputs" / run_id / "predictions" / "after.jsonl").read_text().splitlines()
    texts = {p["id"]: p["text"] for p in map(json.loads, lines) if p["task"] == "mini_reasoning"}
    from hycam_exp.data import sources

    records = {r.id: r for r in sources.read(["mini_reasoning"], None).records}
    assert len({fields(row).instruction for row in generator.rows("mini_reasoning")}) > 1
    for id, text in texts.items():
        adapter = generate.adapter_folder(run_id, str(folder / "outputs"))
        assert generate.answer(adapter, records[id].instruction, records[id].input, 6) == text


class Told(Exception):
    """What a decoder was given."""


@pytest.mark.parametrize("style", PROMPT_STYLES)
@pytest.mark.parametrize("name", ["embedded", "llama2", "llama3", "mistral_v0_3", "qwen2_5"])
def test_the_prompt_is_that_of_training(request, tmp_path, monkeypatch, name, style):
    """What is decoded from are the prompt's ids of a record of the same instruction and input, whatever its answer."""
    tokenizer = AutoTokenizer.from_pretrained(
        EMBEDDED if name == "embedded" else request.getfixturevalue("shared") / "tokenizers" / name
    )
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    )
    settings = {"data": {"prompt": style, "max_length": 512}}
    (tmp_path / "run.json").write_text(json.dumps(settings))
    backbone = SimpleNamespace(tokenizer=tokenizer, positions=None, pad_id=0)
    monkeypatch.setattr(generate, "adapted_model", lambda *_: (None, backbone))

    def decode(self, rows):
        raise Told(rows[0].input_ids[: rows[0].prompt_length])

    monkeypatch.setattr(Decoder, "decode", decode)
    for input in ("", "def f(x): </s>"):
        with pytest.raises(Told) as told:
            generate.answer(tmp_path, "Say it.", input, 6)
        for output in ("a", "def f(x):", " yes", "\n1.", "</s>", "4"):
            record = Record(task="t", instruction="Say it.", input=input, output=output, group="")
            ((row,), _) = tokenise([record], tokenizer, style, 512)
            assert told.value.args[0] == row.input_ids[: row.prompt_length]


def test_the_answer_ends_as_in_training(tmp_path, monkeypatch):
    """A run with `data.eos` is decoded up to that token; one from before there was the setting, up to EOS."""
    for eos, expected in (({}, "<|eos|>"), ({"eos": None}, "<|eos|>"), ({"eos": "<|bos|>"}, "<|bos|>")):
        tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
        settings = {"data": {"prompt": "plain", "max_length": 512, **eos}}
        (tmp_path / "run.json").write_text(json.dumps(settings))
        backbone = SimpleNamespace(tokenizer=tokenizer, positions=None, pad_id=0)
        monkeypatch.setattr(generate, "adapted_model", lambda *_, backbone=backbone: (None, backbone))

        def decode(self, rows):
            raise Told(self.tokenizer.eos_token)

        monkeypatch.setattr(Decoder, "decode", decode)
        with pytest.raises(Told, match=re.escape(expected)):
            generate.answer(tmp_path, "Say it.", "", 6)


def test_a_run_is_found_by_id_by_folder_and_by_adapter(finished):
    """All three name the same adapter."""
    folder, run_id = finished
    adapter = folder / "outputs" / run_id / "adapter"
    for run in (run_id, str(adapter.parent), str(adapter)):
        assert generate.adapter_folder(run, str(folder / "outputs")) == adapter


def test_a_record_without_its_adapter_says_how_to_train_it_again(tmp_path, monkeypatch):
    """As the committed ones are; a run that nothing is known of is not said to have a record."""
    for folder, known in (("runs", "known"), ("studies/mini/records", "committed")):
        (tmp_path / "results" / folder).mkdir(parents=True)
        (tmp_path / "results" / folder / f"{known}.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for known in ("known", "committed"):
        with pytest.raises(ValueError, match=rf"`python -m hycam_exp.report figures run={known}` says how to train it"):
            generate.adapter_folder(known, "outputs")
    with pytest.raises(ValueError, match=r"^run=other: no finished run there \([^;]*\)$"):
        generate.adapter_folder("other", "outputs")


def test_main_prints_the_answer(finished, capsys):
    """The command prints the answer and nothing else."""
    folder, run_id = finished
    generate.main([f"run={run_id}", "prompt=Add 2 and 3.", "max_new_tokens=4", f"outputs={folder / 'outputs'}"])
    adapter = generate.adapter_folder(run_id, str(folder / "outputs"))
    assert capsys.readouterr().out == generate.answer(adapter, "Add 2 and 3.", "", 4) + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=x"], "prompt=: is needed"),
        (["prompt=x"], "run=: is needed"),
        (["run=x", "prompt=y"], "run=x: no finished run there"),
        (["temperature=1"], "argument=temperature=1: must be one of run="),
        (["run=x", "prompt=y", "max_new_tokens=0"], "max_new_tokens=0: must be a positive whole number"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, message):
    """The message names the argument."""
    with pytest.raises(SystemExit, match=message):
        generate.main(arguments)


def test_without_arguments_the_needed_ones_are_named(capsys):
    """One line on standard error and exit status 2."""
    with pytest.raises(SystemExit, match=r"^2$"):
        generate.main([])
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", 'error: run=... and prompt="..." are needed (--help lists the options)\n')


def test_the_readmes_python_loads_the_adapter(finished, tmp_path):
    """A HyCAM adapter loads through PEFT alone once the methods are registered, with the run's weights."""
    folder, run_id = finished
    adapter = folder / "outputs" / run_id / "adapter"
    if not (adapter / "adapter_config.json").is_file():
        pytest.skip("full fine-tuning has no adapter")
    from peft import PeftModel
    from safetensors.torch import load_file

    import hycam_exp.methods  # noqa: F401
    from hycam_exp.models.backbone import describe
    from hycam_exp.models.load import load_model

    settings = json.loads((adapter / "run.json").read_text())
    backbone = describe(generate.ModelSettings(**settings["model"]))
    model = PeftModel.from_pretrained(load_model(backbone, "float32"), adapter)
    state = model.state_dict()
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        assert torch.equal(state[f"{name}.default"], tensor)


def test_a_damaged_adapter_is_one_line(finished, tmp_path):
    """The command refuses an adapter file that is cut off, and names it."""
    folder, run_id = finished
    shutil.copytree(folder / "outputs" / run_id / "adapter", tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    if not file.is_file():
        pytest.skip("full fine-tuning has no adapter")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SystemExit, match=r"error: .*adapter_model\.safetensors: cut off or damaged"):
        generate.main([f"run={tmp_path / 'adapter'}", "prompt=Add 2 and 3."])


def test_help_is_light():
    """--help prints the usage without torch."""
    code = (
        "import sys; from hycam_exp import generate; generate.main(['--help']); "
        "sys.exit('torch' in sys.modules)"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert 'prompt="..."' in done.stdout
