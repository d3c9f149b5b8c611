"""The mini set: five generated tasks in the upstream forms of the real ones.

`python -m data_prep.mini --out DIR` writes the five files; `rows("auto_cot", count=2)` gives two rows of one task.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from data_prep import mini_tasks
from data_prep.mini_tasks import Row
from hycam_exp.runtime.command_line import Parser

ROWS = 2000
SEED = 2333

TASKS: dict[str, Callable[[Random, int], Row]] = {
    "auto_cot": mini_tasks.auto_cot,
    "icliniq": mini_tasks.icliniq,
    "dolly": mini_tasks.dolly,
    "code_alpaca": mini_tasks.code_alpaca,
    "web_gpt": mini_tasks.web_gpt,
}
FILES = {
    "auto_cot": "Auto-CoT.json",
    "icliniq": "iCliniq.json",
    "dolly": "databricks-dolly-15k.jsonl",
    "code_alpaca": "code_alpaca_20k.json",
    "web_gpt": "comparisons.jsonl",
}


def rows(task: str, count: int = ROWS, seed: int = SEED) -> list[Row]:
    """Draw a task's rows; a prompt that came before is drawn again, up to 100 times in a run."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; the mini set has {', '.join(TASKS)}")
    rng = Random(f"mini {seed} {task}")
    found: dict[str, Row] = {}
    misses = 0
    while len(found) < count and misses < 100:
        row = TASKS[task](rng, len(found))
        fresh = found.setdefault(prompt(row), row) is row
        misses = 0 if fresh else misses + 1
    if len(found) < count:
        raise ValueError(f"{task} has no {count} distinct prompts (found {len(found)})")
    return list(found.values())


def prompt(row: Row) -> str:
    """What a row asks, without its answer: two rows with the same prompt are the same question."""
    if isinstance(row, list):
        return json.dumps([row[0]["question"]["full_text"], row[0]["quotes"]])
    return json.dumps([row.get(field, "") for field in ("instruction", "input", "context")])


def write(folder: str | Path, count: int = ROWS, seed: int = SEED) -> list[Path]:
    """Write the five files into a folder, named as upstream names them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / FILES[task] for task in TASKS]
    for task, path in zip(TASKS, paths, strict=True):
        path.write_text(_encoded(rows(task, count, seed), lines=path.suffix == ".jsonl"), encoding="utf-8")
    return paths


def _encoded(found: list[Row], lines: bool) -> str:
    if lines:
        return "".join(json.dumps(row) + "\n" for row in found)
    return json.dumps(found, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser(prog="python -m data_prep.mini", description="write the five mini files")
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    parser.add_argument("--count", type=int, default=ROWS, help="rows a task")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    for path in write(options.out, options.count, options.seed):
        print(path)


if __name__ == "__main__":
    main()
