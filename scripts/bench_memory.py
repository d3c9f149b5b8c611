"""Predicted against measured peak memory of one training step, by category.

On the CPU torch's MemTracker counts every tensor; on a GPU the allocator's own peak is compared with the total.

python -m scripts.bench_memory [--device cuda] [--out results/benchmarks/memory.json]
"""

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import Run
from hycam_exp.data.batches import IGNORE
from hycam_exp.data.batches import Batch as Tokens
from hycam_exp.methods import attach
from hycam_exp.models.load import weight_dtype
from hycam_exp.plan.memory import MemoryParts, TrainingStep
from hycam_exp.plan.sizes import MicroBatch, bytes_of, shape_of
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware
from hycam_exp.training.fit import FineTuning, checkpoint_activations

TINY = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 2048, "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
}  # fmt: skip
REDUCED = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1024, "tie_word_embeddings": False,
    "max_position_embeddings": 1024,
}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny_llama": TINY,
    "reduced_llama": REDUCED,
    "reduced_qwen2": {**REDUCED, "model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
}
COMPARED = ("full_ft", "lora", "multi_lora", "riemoe_lora", "hycam")
LAW = 0.15  # a category of at least this share of the peak is predicted within this share of itself, and so is the sum


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training step that is predicted and measured."""

    architecture: str
    method: str
    precision: str
    checkpointing: bool
    rows: int = 4
    length: int = 128
    padded: bool = True

    @property
    def run(self) -> Run:
        """The mini cell with the method."""
        return compose(f"method={self.method}")


def predicted(case: Case, foreach: bool = False) -> MemoryParts:
    """The plan's peak."""
    trains_backbone = METHODS[case.method].trains_backbone
    return TrainingStep(
        shape=shape_of(ARCHITECTURES[case.architecture]),
        settings=case.run.method,
        width=bytes_of(case.precision, trains_backbone),
        batch=MicroBatch(rows=case.rows, length=case.length, padded=case.padded),
        checkpointing=case.checkpointing,
        foreach=foreach,
    ).peak()


def training(case: Case, device: str) -> tuple[FineTuning, torch.optim.Optimizer, Tokens]:
    """The module, its optimiser and a micro-batch."""
    fields, run = dict(ARCHITECTURES[case.architecture]), case.run
    torch.manual_seed(0)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    dtype = getattr(torch, weight_dtype(case.precision, METHODS[case.method].trains_backbone))
    model = attach(AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa"), run.method)
    model.to(device).train()
    if case.checkpointing:
        checkpoint_activations(model)
    module = FineTuning(model, run.recipe, num_steps=10, accumulation=1, seed=0)
    return module, module.configure_optimizers()["optimizer"], _tokens(case, config.vocab_size, device)


def _tokens(case: Case, vocabulary: int, device: str) -> Tokens:
    ids = torch.randint(3, vocabulary, (case.rows, case.length))
    mask, labels = torch.ones_like(ids), ids.clone()
    mask[0, case.length - 3 * case.padded :] = 0
    labels[mask == 0] = IGNORE
    names = [str(row) for row in range(case.rows)]
    scored = int((labels[:, 1:] >= 0).sum())
    return Tokens(names, ids.to(device), mask.to(device), labels.to(device), scored)


def train(module: FineTuning, optimizer: torch.optim.Optimizer, tokens: Tokens, precision: str) -> None:
    """One optimiser step in Lightning's order: forward, zero_grad, backward, clipping, update."""
    mixed = precision == "bf16_mixed"
    with torch.autocast(tokens.input_ids.device.type, torch.bfloat16) if mixed else contextlib.nullcontext():
        loss = module.training_step(tokens, 0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], 1.0)
    optimizer.step()


def tracker_of(module: FineTuning, optimizer: torch.optim.Optimizer, tokens: Tokens) -> MemTracker:
    """A tracker that knows what is there before the step, and leaves frozen parameters without gradient hooks."""
    tracker = MemTracker()
    nothing = torch.nn.Identity().register_forward_hook(lambda *_: None)
    for parameter in module.parameters():
        if not parameter.requires_grad:  # torch's tracker would hook them, too, which raises
            tracker._param_to_grad_hook_handles[parameter] = (nothing, nothing)
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    tracker.track_external(module, optimizer, tokens.input_ids, tokens.attention_mask, tokens.labels, *gradients)
    return tracker


def measured(case: Case) -> dict[str, int]:
    """MemTracker's peak of the second step, when AdamW's states and the gradients of the first are there."""
    module, optimizer, tokens = training(case, "cpu")
    train(module, optimizer, tokens, case.precision)
    gc.collect()
    tracker = tracker_of(module, optimizer, tokens)
    with tracker:
        train(module, optimizer, tokens, case.precision)
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    found = {getattr(kind, "value", kind): size for kind, size in peak.items()}
    return {
        "weights": found["Parameter"] + found["Buffer"],
        "gradients": found["Gradient"],
        "optimiser": found["Optstate"],
        "activations": found["Activation"] + found["Temp"] + found["Other"],
        "total": found["Total"],
    }


def measured_on_gpu(case: Case) -> dict[str, int]:
    """The allocator's peak of the second step: the sum alone."""
    module, optimizer, tokens = training(case, "cuda")
    train(module, optimizer, tokens, case.precision)
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    train(module, optimizer, tokens, case.precision)
    return {"total": torch.cuda.max_memory_allocated()}


def categories(parts: MemoryParts) -> dict[str, int]:
    """The plan's parts in the tracker's categories; the update's temporaries are counted with the optimiser there."""
    updating = parts.working if parts.moment == "optimiser" else 0
    return {
        "weights": parts.weights,
        "gradients": parts.gradients,
        "optimiser": parts.optimiser + updating,
        "activations": parts.activations + parts.method + parts.logits + parts.working - updating,
        "total": parts.total,
    }


def compare(case: Case, device: str = "cpu") -> dict[str, Any]:
    """Prediction, measurement, and their ratios where a category is a share of the peak that counts."""
    parts = predicted(case, foreach=device == "cuda")
    found = measured_on_gpu(case) if device == "cuda" else measured(case)
    expected = categories(parts)
    ratios = {k: round(expected[k] / v, 4) for k, v in found.items() if v and v >= LAW * found["total"]}
    errors = {k: round((expected[k] - v) / found["total"], 4) for k, v in found.items()}
    predictions = {k: expected[k] for k in found}
    return {
        **asdict(case), "moment": parts.moment, "predicted": predictions, "measured": found, "ratios": ratios,
        "errors_of_peak": errors, "holds": holds(ratios, errors),
    }  # fmt: skip


def holds(ratios: Mapping[str, float], errors: Mapping[str, float]) -> bool:
    """The law: large categories within 15% of themselves, all of them within 15% of the peak."""
    return all(abs(r - 1) <= LAW for r in ratios.values()) and all(abs(e) <= LAW for e in errors.values())


def cases() -> Iterator[Case]:
    """Backbone x method x precision x checkpointing."""
    for architecture in ARCHITECTURES:
        for method in COMPARED:
            for precision in ("float32", "bf16_mixed"):
                for checkpointing in (False, True):
                    yield Case(
                        architecture=architecture, method=method, precision=precision, checkpointing=checkpointing
                    )


def main() -> None:
    """Compare, print, write."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/memory.json"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    rows = []
    for case in cases():
        rows.append(compare(case, arguments.device))
        print(case.architecture, case.method, case.precision, case.checkpointing, rows[-1]["ratios"], flush=True)
    device = hardware("gpu" if arguments.device == "cuda" else "cpu")
    result = {"law": LAW, "hardware": device, "torch": torch.__version__, "cases": rows}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{sum(row['holds'] for row in rows)} of {len(rows)} cases hold")


if __name__ == "__main__":
    main()
