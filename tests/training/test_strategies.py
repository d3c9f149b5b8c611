"""Every strategy on two processes: the same training, scores and adapter as one process, and resuming."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader

from hycam_exp.config.compose import compose
from hycam_exp.training import checkpoints, strategies

TIMEOUT = 400  # seconds: a run that hangs fails
QUICK = (
    "data.tasks=[mini_reasoning,mini_passage]", "data.max_per_task=20", "recipe.epochs=2", "recipe.global_batch_size=8",
    "recipe.validations_per_epoch=2", "recipe.max_new_tokens=6", "recipe.compare_single=1",
    "model.retention_text=null", "trainer.accelerator=cpu", "trainer.micro_batch_size=2",
    "trainer.evaluation_batch_size=2", "trainer.activation_checkpointing=false", "trainer.deterministic=true",
    "trainer.checkpoint_every_steps=1", "recipe.weight_decay=0.5",
)  # fmt: skip
HYCAM = ("method=hycam", "method.balance_weight=0")
METHOD = {"full_ft": ("method=full_ft",), "riemoe_lora": ("method=riemoe_lora",), "hycam": HYCAM}
METHOD["riemoe_double"] = (*METHOD["riemoe_lora"], "recipe.precision=float64")
STRATEGIES = {
    "ddp": ("trainer=ddp",),
    "fsdp": ("trainer=fsdp",),
    "zero1": ("trainer=zero1",),
    "zero2": ("trainer=zero2",),
    "zero3": ("trainer=zero3",),
    "zero1_offload": ("trainer=zero1", "trainer.offload=true"),
    "zero2_offload": ("trainer=zero2", "trainer.offload=true"),
    "zero3_offload": ("trainer=zero3", "trainer.offload=true"),
}
TOLERANCE = 1e-3


def start(folder: Path, *overrides: str, ranks: int = 1) -> "subprocess.Popen[str]":
    """The command without noise, alone or under torchrun."""
    paths = (f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)) if ranks > 1 else ()
    command = [sys.executable, *torchrun, "-m", "tests.without_noise", *QUICK, *overrides, *paths]
    if ranks > 1:
        command.append(f"trainer.devices={ranks}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def finish(process: "subprocess.Popen[str]", folder: Path) -> dict:
    """The record of a command that runs to its end."""
    try:
        _, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]
    (path,) = (folder / "results" / "runs").glob("*.json")
    return json.loads(path.read_text())


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "outputs").glob("*/adapter/*model.safetensors")
    return load_file(path)


def largest_difference(one: list[dict], other: list[dict], key: str) -> float:
    return max(abs(a[key] - b[key]) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process's folder and record, by method; made when first asked for."""
    made: dict[str, tuple[Path, dict]] = {}

    def of(method: str) -> tuple[Path, dict]:
        if method not in made:
            folder = tmp_path_factory.mktemp(f"alone_{method}")
            made[method] = folder, finish(start(folder, *METHOD[method]), folder)
        return made[method]

    return of


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes' folder and record, by strategy and method."""
    made: dict[tuple[str, str], tuple[Path, dict]] = {}

    def of(strategy: str, method: str = "hycam") -> tuple[Path, dict]:
        if (strategy, method) not in made:
            folder = tmp_path_factory.mktemp(f"{strategy}_{method}")
            process = start(folder, *METHOD[method], *STRATEGIES[strategy], ranks=2)
            made[strategy, method] = folder, finish(process, folder)
        return made[strategy, method]

    return of


def check_same(one: tuple[Path, dict], two: tuple[Path, dict], tolerance: float = TOLERANCE, close=None) -> None:
    """Losses, gradient norms, learning rates, counts, scores and the saved tensors agree."""
    (folder, single), (other, several), close = one, two, close or by_element
    assert several["run_id"] == single["run_id"]
    curves = single["curves"]["train"], several["curves"]["train"]
    assert largest_difference(*curves, "loss") < tolerance
    assert largest_difference(*curves, "gradient_norm") < tolerance
    assert largest_difference(*curves, "learning_rate") == 0
    validation = single["curves"]["validation"], several["curves"]["validation"]
    assert largest_difference(*validation, "loss") < tolerance
    assert several["counts"] == single["counts"]
    tokens = [[(row["layer"], row["task"], row["tokens"]) for row in r["routing"]] for r in (single, several)]
    assert tokens[0] == tokens[1]
    for a, b in zip(single["scores"], several["scores"], strict=True):
        assert (a["task"], a["metric"], a["n"]) == (b["task"], b["metric"], b["n"])
        assert (a["value"] is None) == (b["value"] is None)
        assert a["value"] is None or b["value"] == pytest.approx(a["value"], rel=1e-2, abs=1e-2)
    own, theirs = adapter(folder), adapter(other)
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in theirs.items()}
    for name, tensor in own.items():
        close(theirs[name], tensor, tolerance)


def by_element(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def by_norm(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_train_as_one(alone, together, strategy):
    """With balance weight 0 and noise off: the same curves, scores, counts and adapter, of the same sizes."""
    check_same(alone("hycam"), together(strategy))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["zero1", "zero3"])
def test_the_command_under_deepspeed_says_nothing_of_its_own(tmp_path, strategy):
    """No compiler is tried on DeepSpeed's ops, on whatever rank, and no warning is shown that nobody can act on."""
    short = ("data.max_per_task=10", "recipe.epochs=1", "evaluation.test=false", f"trainer={strategy}")
    command = [sys.executable, "-m", "hycam_exp", *QUICK, *short, "trainer.devices=2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "zero3"])
def test_full_fine_tuning_is_cut_up_and_saved_whole(alone, together, strategy):
    """Every weight is trained in shards, and the saved model is whole."""
    check_same(alone("full_ft"), together(strategy, "full_ft"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_riemannian_gradients_are_those_of_one_process(alone, together, strategy):
    """Preconditioning commutes with averaging and cutting up gradients: in float64 only rounding is left."""
    check_same(alone("riemoe_double"), together(strategy, "riemoe_double"), tolerance=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["zero1", "zero2"])
def test_riemannian_gradients_reach_deepspeeds_optimiser(alone, together, strategy):
    """In float32, all that DeepSpeed has: a gradient that is rounding alone still moves its weight by Adam's step."""
    check_same(alone("riemoe_lora"), together(strategy, "riemoe_lora"), close=by_norm)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_sample_is_scored_once(alone, together, strategy):
    """Samples file and predictions hold each test record once, as one process does; no rank's part is left over."""
    folders = alone("hycam")[0], together(strategy)[0]
    found = []
    for folder in folders:
        (samples,) = (folder / "results" / "runs").glob("*.parquet")
        (predictions,) = (folder / "outputs").glob("*/predictions/after.jsonl")
        decoded = [json.loads(line)["id"] for line in predictions.read_text().splitlines()]
        ids = pq.read_table(samples).column("id").to_pylist()
        assert sorted(decoded) == sorted(ids)
        assert len(set(ids)) == len(ids)
        assert not list(predictions.parent.glob("*.rank*"))
        found.append(ids)
    assert found[0] == found[1]


def checkpoint_names(folder: Path) -> set[str]:
    """The parameters whose tensors a checkpoint holds as weights."""
    last = folder / "last.ckpt"
    if last.is_file():
        return set(torch.load(last, weights_only=True)["state_dict"])
    if (last / ".metadata").is_file():
        keys = FileSystemReader(last).read_metadata().state_dict_metadata
        return {key.removeprefix("state_dict.") for key in keys if key.startswith("state_dict.")}
    names: set[str] = set()
    for file in last.rglob("*model_states.pt"):
        names |= set(torch.load(file, weights_only=False)["module"])
    return names


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_in_an_epoch_it_goes_on(together, tmp_path, strategy):
    """SIGKILL in the second epoch: the checkpoint holds no frozen weight, and the end is the undisturbed run's."""
    process = start(tmp_path, *HYCAM, *STRATEGIES[strategy], ranks=2)
    assert process.stdout is not None
    steps = (line for line in process.stdout if line.startswith("step "))
    while not next(steps, "step 6/8").startswith("step 6/8"):
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (training,) = (tmp_path / "outputs").glob("*/training")
    names = checkpoint_names(training)
    assert names
    assert [name for name in names if "hycam_" not in name] == []
    size = sum(file.stat().st_size for file in [training / "last.ckpt", *training.rglob("last.ckpt/**/*")])
    assert size < 1_300_000 * 4  # bytes of the frozen weights alone; with the optimiser's four values a weight of ours
    record = finish(start(tmp_path, *HYCAM, *STRATEGIES[strategy], ranks=2), tmp_path)
    _, undisturbed = together(strategy)
    assert not any("was not continued" in note for note in record["notes"])
    (log,) = (tmp_path / "outputs").glob("*/curves/attempt_2/metrics.csv")
    assert len(log.read_text().splitlines()) < 8  # a header, and what was left
    if strategy == "ddp":
        assert record["curves"] == undisturbed["curves"]
        assert record["scores"] == undisturbed["scores"]
    for curve in ("train", "validation"):
        assert largest_difference(record["curves"][curve], undisturbed["curves"][curve], "loss") < 1e-5
    assert record["counts"] == undisturbed["counts"]


def test_zero_settings_follow_stage_and_offload():
    """The optimiser is offloaded from stage 1 on, the weights only under stage 3."""
    found = {
        (name, offload): strategies.zero_settings(compose(f"trainer={name}", f"trainer.offload={offload}").trainer)
        for name in ("zero1", "zero3")
        for offload in (True, False)
    }
    assert [settings["stage"] for settings in found.values()] == [1, 1, 3, 3]
    assert {key for key, settings in found.items() if "offload_optimizer" in settings} == {
        ("zero1", True),
        ("zero3", True),
    }
    assert {key for key, settings in found.items() if "offload_param" in settings} == {("zero3", True)}


def test_a_folder_checkpoint_is_replaced_whole(tmp_path):
    """Before, between and after the renames there is a whole checkpoint to resume from."""
    new, last = tmp_path / "last.part", tmp_path / "last.ckpt"
    for content in ("1", "2"):
        new.mkdir()
        (new / "file").write_text(content)
        checkpoints.put_in_place(new, last)
        assert (last / "file").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    last.rename(checkpoints.predecessor(last))  # as if killed between the renames
    checkpoints.recover(last)
    assert (last / "file").read_text() == "2"
