"""What several tests need: the shared folder, SLURM in small, a tokenizer and a backbone that can be checked."""

import os
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hycam_exp.launch import slurm
from tests.leftovers import pytest_handlecrashitem as pytest_handlecrashitem

settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("tests")

FAKE = Path(__file__).with_name("fake_slurm.py")
SHARED = Path(__file__).resolve().parents[2] / "shared"
LETTERS = string.printable[:95] + "\né世😀"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, tokenizers and models; it may not be copied into the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED} beside the checkout")
    return SHARED


def letter_tokenizer(merges: tuple[tuple[str, str], ...] = (), ends: bool = False) -> PreTrainedTokenizerFast:
    """One id a character, <unk> = 0, <s> = 1 before every text, </s> = 2; after it, too, if it `ends` texts itself."""
    tokens = ["<unk>", "<s>", "</s>", *LETTERS, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, list(merges), unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if ends else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def letters() -> PreTrainedTokenizerFast:
    """One id a character."""
    return letter_tokenizer()


@pytest.fixture(scope="session")
def small_llama(letters: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama in float64 over the letters, with weights large enough that its answers differ."""
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).to(torch.float64).eval()


@pytest.fixture
def quick_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the queue that follow each other fast."""
    monkeypatch.setattr(slurm, "POLL", {"slurm": 0.1, "local": 0.1})
    monkeypatch.setattr(slurm, "SETTLE", {"slurm": 0.3, "local": 0.0})


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything that the imitation of SLURM knows; its commands are on the PATH."""
    state, commands = tmp_path / "slurm", tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "srun", "squeue", "sinfo", "sacct", "scontrol", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    yield state
    (tmp_path / "go").touch()  # what waits for it ends
    for path in (state / "live").glob("*"):
        subprocess.run(["kill", "--", f"-{path.read_text()}"], capture_output=True)
