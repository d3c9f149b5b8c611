"""Ranks: how work is shared among them, and what a command for ranks says and does."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.cell import run_cell
from hycam_exp.config.compose import compose
from hycam_exp.config.settings import refusal
from hycam_exp.models import load
from hycam_exp.runtime import ranks

QUICK = (
    "model=tiny_qwen2", "data.max_per_task=20", "data.tasks=[mini_reasoning,mini_passage]", "recipe.epochs=1",
    "recipe.global_batch_size=8", "recipe.validations_per_epoch=1", "model.retention_text=null",
    "trainer.accelerator=cpu", "trainer.micro_batch_size=3", "trainer.evaluation_batch_size=1",
    "trainer.activation_checkpointing=false",
)  # fmt: skip


def command(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    paths = (f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}")
    return subprocess.Popen(
        [sys.executable, "-m", "hycam_exp", *QUICK, *paths, *overrides],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@given(items=st.lists(st.integers(), unique=True, max_size=20), size=st.integers(1, 5))
def test_ranks_share_every_item_once_in_equal_numbers(items, size):
    """What counts, over all ranks, is each item once; with what does not, every rank has as many."""
    shared = [ranks.shares(items, rank, size) for rank in range(size)]
    assert sorted(item for part in shared for item, counts in part if counts) == sorted(items)
    assert len({len(part) for part in shared}) == 1
    assert sum(len(part) for part in shared) < len(items) + size


def test_one_process_needs_no_torch():
    """Alone, sums, gathering and turns are the identity, and importing the module loads no torch."""
    assert ranks.totals(1.5, 2) == (1.5, 2)
    assert ranks.gathered("a") == ["a"]
    assert ranks.first_in_turn(lambda: 3) == ranks.from_first(lambda: 3) == 3
    assert ranks.share("ab") == [("a", True), ("b", True)]
    code = "import hycam_exp.runtime.ranks, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_cell_for_ranks_is_refused_by_a_process_that_is_none(tmp_path):
    """From Python there is one process, and the error says what starts several."""
    run = compose(*QUICK, "trainer=ddp", f"paths.outputs={tmp_path}", f"paths.results={tmp_path}")
    with pytest.raises(ValueError, match=r"trainer.strategy=ddp: .* `python -m hycam_exp` starts them"):
        run_cell(run)


def test_a_strategy_without_its_package_is_named(monkeypatch):
    """Without deepspeed the error says what to install, before any rank is started."""
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    run = compose(*QUICK, "trainer=zero2")
    with pytest.raises(ValueError, match=r"trainer.strategy=zero2: deepspeed is not installed; pip install"):
        load.check_device(run.trainer, run.recipe.precision)


def test_more_gpus_than_there_are(monkeypatch):
    """The error names both numbers."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    run = compose("trainer=ddp")
    with pytest.raises(ValueError, match=r"trainer.devices=8: torch finds 3 GPUs here"):
        load.check_device(run.trainer, run.recipe.precision)


def test_riemannian_gradients_are_refused_where_they_would_change(tmp_path):
    """In one line before anything is loaded, of one cell and of a grid; what is left out names what can."""
    said = "error: method=riemoe_lora: trainer.strategy=zero3 cannot carry its Riemannian preconditioning; ddp, fsdp, "
    for more in ((), ("hydra.mode=MULTIRUN", "fold=0,1")):
        _, errors = command(tmp_path, "method=riemoe_lora", "trainer=zero3", *more).communicate()
        assert errors == f"{said}zero1, zero2 can\n"
    assert refusal(compose("method=riemoe_lora").method, "fsdp") is None
    assert refusal(compose("method=lora").method, "zero3") is None


def test_deepspeed_has_no_float64():
    """The error names the precision and the strategy."""
    with pytest.raises(ValueError, match=r"recipe.precision=float64: DeepSpeed \(zero1\) has no float64"):
        compose("trainer=zero1", "recipe.precision=float64")


def test_several_nodes_are_started_by_hand(tmp_path):
    """The error is one line, with the command for each node."""
    _, errors = command(tmp_path, "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=4").communicate()
    assert errors.startswith("error: trainer.num_nodes=2: call on every node `torchrun --nnodes 2 --nproc-per-node 4")
    assert errors.count("\n") == 1


def test_two_ranks_run_a_cell(tmp_path):
    """The plain command starts them; one record, one table, every test record once, and the same again is skipped."""
    process = command(tmp_path, "trainer=ddp", "trainer.devices=2", "method=lora", "evaluation.generate=false")
    printed, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert printed.count("best validation loss") == 1
    (path,) = (tmp_path / "results" / "runs").glob("*.json")
    record = json.loads(path.read_text())
    assert record["fit"]["steps"] == 4
    scored = next(s["n"] for s in record["scores"] if s["task"] == "pooled" and s["metric"] == "ppl")
    assert scored == 4


@pytest.mark.slow
def test_a_user_error_on_ranks_is_one_line_and_one_failure(tmp_path):
    """A loss that is not finite ends all ranks at once, with the error said and recorded once."""
    began = time.monotonic()
    process = command(
        tmp_path, "trainer=ddp", "trainer.devices=2", "method=full_ft", "recipe.learning_rate=1e30",
        "recipe.clip=null", "evaluation.test=false",
    )  # fmt: skip
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    said = [line for line in errors.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "the loss is" in said[0]
    assert "Traceback" not in errors
    assert "exitcode" not in errors
    (failures,) = (tmp_path / "outputs").glob("*/failures.jsonl")
    assert len(failures.read_text().splitlines()) == 1
    assert time.monotonic() - began < 150


@pytest.mark.slow
def test_ranks_end_with_their_parent(tmp_path):
    """After SIGKILL of the command the cell is free at once."""
    process = command(tmp_path, "trainer=ddp", "trainer.devices=2", "method=lora", "recipe.epochs=50")
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("step "))
    process.kill()
    process.communicate(timeout=20)  # ends when the last rank has let go of the pipe
    (lock,) = (tmp_path / "outputs").glob("*/lock")
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_a_wrong_number_of_ranks_is_refused(tmp_path):
    """torchrun by hand with other numbers than the settings': each is named, once."""
    paths = (f"paths.results={tmp_path}", f"paths.outputs={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hycam_exp",
         *QUICK, *paths, "trainer=ddp", "trainer.devices=4"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stderr.count("error: trainer.devices=4 on trainer.num_nodes=1 are 4 ranks, but 2 were started") == 1
