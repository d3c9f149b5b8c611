"""What every method costs on this machine: a training step, its forward pass, its memory, and decoding, in one run.

python -m scripts.bench_step [--device cuda] [--methods lora hycam] [--rounds 9] [--out FILE]

Times are ratios to LoRA's in training and to the backbone's in decoding, each the median of the ratios of rounds in
which all methods take their turn, so that a busy machine slows all alike. It writes the numbers with the device and
the versions, and the tables of docs/performance.md.
"""

import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.config.methods import METHODS
from hycam_exp.data.batches import IGNORE, Batch
from hycam_exp.methods import attach
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware
from hycam_exp.runtime.files import write_atomically
from hycam_exp.training.fit import FineTuning
from scripts.bench_hycam_layer import saved_bytes

ROOT = Path(__file__).parents[1]
RANK, PROMPT, TOKENS, BATCHES = 64, 64, 8, (1, 16)
BACKBONE = "backbone"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A random Llama, and one micro-batch of it of which the second half of each row has targets."""

    width: int
    heads: int
    intermediate: int
    blocks: int
    vocabulary: int
    rows: int
    length: int
    dtype: str


SIZES = {
    "cpu": Sizes(
        width=1024, heads=16, intermediate=2816, blocks=2, vocabulary=4096, rows=2, length=512, dtype="float32"
    ),
    "cuda": Sizes(
        width=4096, heads=32, intermediate=11008, blocks=2, vocabulary=32000, rows=8, length=1024, dtype="bfloat16"
    ),
}
"""By device; on CUDA the widths of Llama 2 7B."""


@dataclass
class Subject:
    """A method attached to a backbone of its own, with what a training step needs."""

    module: FineTuning
    optimizer: torch.optim.Optimizer
    batch: Batch

    def forward(self) -> torch.Tensor:
        """The loss of the micro-batch."""
        return self.module.training_step(self.batch, 0)

    def step(self) -> None:
        """Forward, backward, and update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.forward().backward()
        self.optimizer.step()


def subject(method: str, sizes: Sizes, device: str) -> Subject:
    """A method at rank 64 on a random backbone, off its initial values."""
    run = compose(f"method={method}", f"recipe.rank={RANK}")
    model = attach(backbone(sizes, device), run.method).to(device).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    module = FineTuning(model, run.recipe, num_steps=10, accumulation=1, seed=0)
    ids = token_ids(sizes, sizes.rows, sizes.length, device)
    labels = ids.clone()
    labels[:, : sizes.length // 2] = IGNORE
    batch = Batch(
        [str(row) for row in range(sizes.rows)], ids, torch.ones_like(ids), labels, int((labels >= 0).sum()),
        tuple(islice(cycle(run.data.tasks), sizes.rows)),
    )  # fmt: skip
    return Subject(module, module.configure_optimizers()["optimizer"], batch)


def backbone(sizes: Sizes, device: str) -> Any:
    """A random Llama."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=sizes.width, num_attention_heads=sizes.heads, intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.blocks, vocab_size=sizes.vocabulary, max_position_embeddings=4096,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device, getattr(torch, sizes.dtype))


def token_ids(sizes: Sizes, rows: int, length: int, device: str) -> torch.Tensor:
    """Ids (rows, length), the same for every method."""
    draws = torch.Generator().manual_seed(1)
    return torch.randint(3, sizes.vocabulary, (rows, length), generator=draws).to(device)


def seconds(work: Callable[[], object], device: str) -> float:
    """What one call takes."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def ratios(times: dict[str, list[float]], base: str) -> dict[str, float]:
    """The median over rounds of each method's ratio to `base` in the same round."""
    return {
        name: round(statistics.median(a / b for a, b in zip(of, times[base], strict=True)), 3)
        for name, of in times.items()
    }


def training(methods: Sequence[str], sizes: Sizes, device: str, rounds: int) -> dict[str, dict[str, float]]:
    """Of every method its step and forward pass as ratios to LoRA's, milliseconds of a step, and kept MiB."""
    subjects = {method: subject(method, sizes, device) for method in methods}
    forward: dict[str, list[float]] = {method: [] for method in methods}
    whole: dict[str, list[float]] = {method: [] for method in methods}
    for turn in range(rounds + 1):  # the first warms up
        for method, of in subjects.items():
            spent = seconds(of.forward, device), seconds(of.step, device)
            if turn:
                forward[method].append(spent[0])
                whole[method].append(spent[1])
    steps, forwards = ratios(whole, "lora"), ratios(forward, "lora")
    return {
        method: {
            "step_of_lora": steps[method],
            "forward_of_lora": forwards[method],
            "step_milliseconds": round(1000 * statistics.median(whole[method]), 2),
            "kept_mib": round(kept(subjects[method]) / 2**20, 1),
        }
        for method in methods
    }


def kept(of: Subject) -> int:
    """Bytes that the backward pass of a step keeps, weights not counted."""
    return saved_bytes(of.forward, (*of.module.parameters(), *of.module.buffers()))


def decoding(methods: Sequence[str], sizes: Sizes, device: str, rounds: int) -> dict[str, dict[str, float]]:
    """Of every method one token of each row with a cache as a ratio to the backbone's, by batch size."""
    models = {BACKBONE: backbone(sizes, device).eval()}
    models |= {method: subject(method, sizes, device).module.model.eval() for method in methods}
    found: dict[str, dict[str, float]] = {method: {} for method in models}
    for rows in BATCHES:
        times: dict[str, list[float]] = {method: [] for method in models}
        for turn in range(rounds + 1):
            for method, model in models.items():
                spent = _token(model, sizes, rows, device)
                if turn:
                    times[method].append(spent)
        for method, ratio in ratios(times, BACKBONE).items():
            found[method][f"batch_{rows}"] = ratio
    return found


def _token(model: Any, sizes: Sizes, rows: int, device: str) -> float:
    """Seconds of one token of every row, after a prompt of 64."""
    ids = token_ids(sizes, rows, PROMPT, device)
    with torch.inference_mode():
        cache = model(ids, use_cache=True).past_key_values

        def continue_it() -> None:
            for _ in range(TOKENS):
                model(ids[:, :1], past_key_values=cache, use_cache=True)

        return seconds(continue_it, device) / TOKENS


def measure(methods: Sequence[str], sizes: Sizes, device: str, rounds: int) -> dict[str, Any]:
    """All of it, with what it was measured on."""
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {
        "sizes": {**asdict(sizes), "rank": RANK, "prompt": PROMPT}, "rounds": rounds,
        "hardware": hardware("gpu" if device == "cuda" else "cpu"), "python": platform.python_version(),
        "versions": versions, "load": os.getloadavg()[0],
        "training": training(methods, sizes, device, rounds), "decoding": decoding(methods, sizes, device, rounds),
    }  # fmt: skip


def page(results: Sequence[dict[str, Any]]) -> str:
    """docs/performance.md: a table for each device that was measured."""
    text = [
        "# What a method costs\n\n`python -m scripts.bench_step` writes this page, from its numbers in"
        " results/benchmarks. A ratio is the median over\nrounds in which all methods take their turn. Kept: what the"
        " backward pass of a step keeps, weights not counted.\n"
    ]
    for result in results:
        sizes, host = result["sizes"], result["hardware"]
        text.append(
            f"## {host['device']}, {sizes['dtype']}\n\nA random Llama of width {sizes['width']:,}, {sizes['blocks']}"
            f" blocks and {sizes['vocabulary']:,} tokens; {sizes['rows']} x {sizes['length']} tokens a step, half of"
            f" them targets;\nrank {sizes['rank']}; {host['threads']} thread(s), torch {result['versions']['torch']};"
            f" the machine's load at the start was {result['load']:.1f}.\n"
        )
        text.append("| method | step / LoRA's | forward / LoRA's | kept, MiB | token / backbone's | in a batch of 16 |")
        text.append("| --- | ---: | ---: | ---: | ---: | ---: |")
        for method, of in result["training"].items():
            one, many = (result["decoding"][method][f"batch_{rows}"] for rows in BATCHES)
            text.append(
                f"| {METHODS[method].title} | {of['step_of_lora']:.2f} | {of['forward_of_lora']:.2f} |"
                f" {of['kept_mib']:,.0f} | {one:.2f} | {many:.2f} |"
            )
        text.append("")
    return "\n".join(text)


def main() -> None:
    """Measure, print, and write the numbers and the page."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=list(SIZES), default="cuda" if torch.cuda.is_available() else "cpu")
    methods = [name for name in METHODS if name != "peft"]
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, help="lora among them")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="results/benchmarks/step_DEVICE.json if left out, and the page")
    given = parser.parse_args()
    if "lora" not in given.methods:
        parser.error("--methods: lora must be among them, which the others are compared with")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*above the width.*")
    result = measure(given.methods, SIZES[given.device], given.device, given.rounds)
    folder = ROOT / "results" / "benchmarks"
    write_atomically(given.out or folder / f"step_{given.device}.json", (json.dumps(result, indent=1) + "\n").encode())
    text = page(
        [result] if given.out else [json.loads(path.read_text()) for path in sorted(folder.glob("step_*.json"))]
    )
    print(text)
    if given.out is None:
        write_atomically(ROOT / "docs" / "performance.md", text.encode())


if __name__ == "__main__":
    main()
