"""What a method costs in decoding: the time of one token with a cache, as a ratio to the backbone's, in one run.

python -m scripts.bench_decoding [--out results/benchmarks/decoding.json]
"""

import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hycam_exp.config.compose import compose
from hycam_exp.methods import attach
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware

METHODS = ("backbone", "lora", "hycam", "multi_lora", "riemoe_lora")
WIDTH, LAYERS, RANK, VOCABULARY = 768, 4, 64, 4096
PROMPT, TOKENS, BATCHES, ROUNDS = 64, 8, (1, 16), 9


def adapted(method: str) -> Any:
    """A random Llama of width 768 with a method attached at rank 64, off its initial values; LoRA is not merged."""
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2048, "num_hidden_layers": LAYERS, "num_attention_heads": 12}
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))
    if method != "backbone":
        model = attach(model, compose(f"method={method}", f"recipe.rank={RANK}").method)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and method != "backbone":
                parameter += 0.02 * torch.randn_like(parameter)
    return model.eval()


def step(model: Any, batch: int) -> float:
    """Seconds of one token of every row, after a prompt of 64."""
    ids = torch.randint(3, VOCABULARY, (batch, PROMPT), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cache = model(ids, use_cache=True).past_key_values
        started = time.perf_counter()
        for _ in range(TOKENS):
            model(ids[:, :1], past_key_values=cache, use_cache=True)
        return (time.perf_counter() - started) / TOKENS


def measure() -> list[dict[str, Any]]:
    """For every batch and method the median milliseconds of a token, and the median of the rounds' own ratios."""
    models = {method: adapted(method) for method in METHODS}
    rows = []
    for batch in BATCHES:
        rounds = [{method: step(model, batch) for method, model in models.items()} for _ in range(ROUNDS + 1)][1:]
        for method in METHODS:
            rows.append(
                {
                    "batch": batch,
                    "method": method,
                    "milliseconds": round(1000 * statistics.median(r[method] for r in rounds), 3),
                    "of_backbone": round(statistics.median(r[method] / r["backbone"] for r in rounds), 3),
                }
            )
    return rows


def main() -> None:
    """Measure on one thread, print a line for each method, and write them."""
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/decoding.json"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*above the width.*")
    rows = measure()
    for row in rows:
        print(f"batch {row['batch']:2}  {row['method']:12} {row['milliseconds']:8.2f} ms  {row['of_backbone']:.2f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"width": WIDTH, "layers": LAYERS, "rank": RANK, "prompt": PROMPT, "threads": 1, "dtype": "float32"}
    out.write_text(json.dumps({"settings": settings, "hardware": hardware("cpu"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
