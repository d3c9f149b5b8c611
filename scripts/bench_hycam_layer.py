"""Time and memory of one HyCAM layer's forward and backward, in three forms, as ratios within one run.

python -m scripts.bench_hycam_layer [--out results/benchmarks/hycam_layer.json]
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from hycam_exp.methods.modulation import fuse, low_rank_codes, modulate
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware

TOKENS, WIDTH, RANK, NUM = 2048, 896, 64, 5
Form = Callable[..., Tensor]


def chained(h: Tensor, att: Tensor, w: Tensor, a: Tensor, n: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """A chain of three products for each module, their outputs stacked: the released code's shape."""
    specs = torch.stack([F.silu(F.linear(F.linear(F.linear(h, a[k]), n[k]), b[k])) for k in range(NUM)])
    return att + att * (F.silu(h @ w) + (p.T[..., None] * specs).sum(0))


def folded(h: Tensor, att: Tensor, w: Tensor, a: Tensor, n: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """N folded into A, one product for all codes, plain autograd."""
    return att + att * fuse(h @ w, low_rank_codes(h, a, n), b, p)


def recomputed(h: Tensor, att: Tensor, w: Tensor, a: Tensor, n: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """The project's form: as `folded`, computing again in the backward pass what `folded` keeps."""
    return modulate(att, h @ w, low_rank_codes(h, a, n), b, p)


FORMS: dict[str, Form] = {"chained": chained, "folded": folded, "recomputed": recomputed}


def inputs() -> list[Tensor]:
    """Random h_norm, h_att, W_Shared, A, N, B and p, all asking for gradients."""
    torch.manual_seed(0)
    shapes = [
        (TOKENS, WIDTH),
        (TOKENS, WIDTH),
        (WIDTH, WIDTH),
        (NUM, RANK, WIDTH),
        (NUM, RANK, RANK),
        (NUM, WIDTH, RANK),
    ]
    tensors = [torch.randn(shape) / shape[-1] ** 0.5 for shape in shapes]
    return [t.requires_grad_() for t in [*tensors, torch.rand(TOKENS, NUM).softmax(-1)]]


def saved_bytes(forward: Callable[[], Tensor], given: Iterable[Tensor]) -> int:
    """Bytes of the distinct tensors that the backward pass of a forward pass keeps, the given ones not counted."""
    storages = {t.untyped_storage().data_ptr() for t in given}
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in storages:
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        output = forward()
    del output
    return sum(kept.values())


def seconds(form: Form, tensors: list[Tensor]) -> float:
    """One forward and backward."""
    start = time.perf_counter()
    form(*tensors).sum().backward()
    return time.perf_counter() - start


def measure(repeats: int) -> dict[str, dict[str, float]]:
    """Each form's median seconds (the forms in turn, so that drift hits all) and kept bytes, and their ratios."""
    tensors = inputs()
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for repeat in range(repeats + 1):
        for name, form in FORMS.items():
            spent = seconds(form, tensors)
            if repeat:  # the first round warms up
                times[name].append(spent)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    kept = {name: saved_bytes(lambda form=form: form(*tensors), tensors) for name, form in FORMS.items()}
    return {
        name: {
            "seconds": round(medians[name], 4),
            "kept_mib": round(kept[name] / 2**20, 1),
            "seconds_ratio": round(medians[name] / medians["chained"], 3),
            "kept_ratio": round(kept[name] / kept["chained"], 3),
        }
        for name in FORMS
    }


def main() -> None:
    """Measure, print, write."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/hycam_layer.json"))
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    setting = {"tokens": TOKENS, "width": WIDTH, "rank": RANK, "num_specialized": NUM, "repeats": arguments.repeats}
    result = {"setting": setting, "hardware": hardware("cpu"), "forms": measure(arguments.repeats)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
