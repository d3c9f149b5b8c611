"""Padding of the batches that training sees, against every record padded to the limit; and the seconds of tokenising.

python -m scripts.bench_batches --root DIR --tokenizer DIR [--out results/benchmarks/batches.json]

DIR holds the five sets as `data_prep` reads them; each is repeated up to its size in the paper's Table 1.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hycam_exp.data import published, sources
from hycam_exp.data.batches import Schedule
from hycam_exp.data.records import Record, identified
from hycam_exp.data.token_table import TokenTable, token_table
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware

BATCH_SIZE, MAX_LENGTH, STYLE = 16, 1200, "alpaca"


def mix(root: str) -> list[Record]:
    """The five sets in the paper's proportions: each repeated, or cut, to the size that Table 1 gives."""
    records: list[Record] = []
    for row in published.datasets():
        of_task = sources.read([row.task], root).records
        records += itertools.islice(itertools.cycle(of_task), row.samples)
    return identified(records)


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """The share of positions that are padding where each batch is as long as its longest member."""
    positions = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / positions


def shares(table: TokenTable, epochs: int) -> dict[str, float]:
    """The share of padding over some epochs: grouped by length, shuffled without grouping, all at the limit."""
    lengths = table.lengths
    schedule = Schedule(lengths, BATCH_SIZE, BATCH_SIZE, epochs, seed=0)
    grouped = [schedule.windows(epoch) for epoch in range(epochs)]
    drawn = Schedule([0] * len(lengths), BATCH_SIZE, BATCH_SIZE, epochs, seed=0).windows(0)
    return {
        "grouped_by_length": max(padding(lengths, epoch) for epoch in grouped),
        "shuffled": padding(lengths, drawn),
        "padded_to_max_length": 1 - sum(lengths) / (MAX_LENGTH * len(lengths)),
    }


def measure(records: Sequence[Record], tokenizer_folder: Path, epochs: int) -> dict[str, Any]:
    """Seconds to tokenise the records and to find them again, and the shares of padding."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder))
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            table = token_table(records, tokenizer, STYLE, MAX_LENGTH, Path(folder))
            seconds.append(round(time.perf_counter() - start, 2))
        found = {name: round(share, 4) for name, share in shares(table, epochs).items()}
        average = round(sum(table.lengths) / len(table), 1)
    return {"tokenising_seconds": seconds[0], "found_again_seconds": seconds[1], "tokens": average, "padding": found}


def main() -> None:
    """Measure, print, write."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", required=True, help="folder of the five sets")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer in Hugging Face form")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/batches.json"))
    arguments = parser.parse_args()
    records = mix(arguments.root)
    setting = {
        "records": len(records), "tokenizer": arguments.tokenizer.name, "batch_size": BATCH_SIZE,
        "max_length": MAX_LENGTH, "template": STYLE, "epochs": arguments.epochs,
    }  # fmt: skip
    measured = measure(records, arguments.tokenizer, arguments.epochs)
    result = {"setting": setting, "hardware": hardware("cpu"), "measured": measured}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
