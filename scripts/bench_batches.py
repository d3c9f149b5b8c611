"""Padding of the batches that training sees, and how mixed its steps are; and the seconds of tokenising.

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

from hycam_exp.data import sources
from hycam_exp.data.batches import Schedule
from hycam_exp.data.records import Record, identified
from hycam_exp.data.table1 import datasets
from hycam_exp.data.token_table import TokenTable, token_table
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware

MAX_LENGTH, STYLE = 1200, "alpaca"
CUTS = ((16, 16), (16, 4), (16, 2), (32, 4))  # records of a step, and of the longest ones in a micro-batch


def mix(root: str) -> list[Record]:
    """The five sets in the paper's proportions: each repeated, or cut, to the size that Table 1 gives."""
    records: list[Record] = []
    for row in datasets():
        of_task = sources.read([row.task], root).records
        records += itertools.islice(itertools.cycle(of_task), row.samples)
    return identified(records)


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """The share of positions that are padding where each batch is as long as its longest member."""
    rows = [[lengths[i] for i in batch] for batch in batches]
    return 1 - sum(map(sum, rows)) / sum(len(of_batch) * max(of_batch) for of_batch in rows)


def shares(table: TokenTable, epochs: int) -> dict[str, Any]:
    """By cut, the share of padding over some epochs as steps are cut, and with as many rows in every micro-batch; the
    mixture of a step's tasks; and the share of padding with all records at the limit."""
    lengths, tasks = table.lengths, [row.task for row in table]
    found: dict[str, Any] = {}
    for size, micro in CUTS:
        schedule = Schedule(lengths, MAX_LENGTH, size, micro, epochs, seed=0)
        windows = [window for epoch in range(epochs) for window in schedule.windows(epoch)]
        even = [sorted(window, key=lengths.__getitem__) for window in windows]
        entropy = schedule.step_task_entropy(tasks, schedule.num_steps)
        found[f"{size}/{micro}"] = {
            "padding": round(padding(lengths, [b for window in windows for b in schedule.micro_batches(window)]), 4),
            "padding_of_equal_rows": round(
                padding(lengths, [rows[i : i + micro] for rows in even for i in range(0, len(rows), micro)]), 4
            ),
            "step_task_entropy": None if entropy is None else round(entropy, 4),
        }
    found["padding_to_max_length"] = round(1 - sum(lengths) / (MAX_LENGTH * len(lengths)), 4)
    return found


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
        found = shares(table, epochs)
        average = round(sum(table.lengths) / len(table), 1)
    return {"tokenising_seconds": seconds[0], "found_again_seconds": seconds[1], "tokens": average, "steps": found}


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
        "records": len(records), "tokenizer": arguments.tokenizer.name,
        "max_length": MAX_LENGTH, "template": STYLE, "epochs": arguments.epochs,
    }  # fmt: skip
    measured = measure(records, arguments.tokenizer, arguments.epochs)
    result = {"setting": setting, "hardware": hardware("cpu"), "measured": measured}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
