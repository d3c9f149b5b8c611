"""The generator of the mini set: rows of five tasks, each in the upstream form of a real set, and their records.

E.g. `records("mini_reasoning", count=2)` are two records of one task.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from data_prep import canonical, manifest
from data_prep.conversion import convert
from data_prep.mini import tasks
from data_prep.mini.tasks import Row
from data_prep.tasks import reading
from hycam_exp.data.records import Record

ROWS = 2000
SEED = 2333


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generated task: whose upstream form its rows have, and how one of them is drawn."""

    form: str
    row: Callable[[Random, int], Row]


TASKS = {
    "mini_reasoning": Drawn("auto_cot", tasks.reasoning),
    "mini_medical": Drawn("icliniq", tasks.medical),
    "mini_passage": Drawn("dolly", tasks.on_passage),
    "mini_code": Drawn("code_alpaca", tasks.code),
    "mini_sources": Drawn("web_gpt", tasks.on_sources),
}


def rows(task: str, count: int = ROWS, seed: int = SEED) -> list[Row]:
    """Draw a task's rows; a prompt that came before is drawn again, up to 100 times in a run.

    Raises:
        ValueError: there is no such task, or it has no so many distinct prompts.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; the mini set has {', '.join(TASKS)}")
    rng = Random(f"mini {seed} {TASKS[task].form}")
    found: dict[str, Row] = {}
    misses = 0
    while len(found) < count and misses < 100:
        row = TASKS[task].row(rng, len(found))
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


def records(task: str, count: int = ROWS, seed: int = SEED) -> list[Record]:
    """The records of a task, in the order in which its rows are drawn.

    Raises:
        ValueError: as `rows`.
    """
    drawn = enumerate(rows(task, count, seed), start=1)
    found = list(convert(task, drawn, "generated", reading(TASKS[task].form).fields))
    kept = [record for record in found if isinstance(record, Record)]
    assert len(kept) == len(found), f"{task}: the generator made a row that is rejected"
    return kept


def write(out: Path, count: int = ROWS, seed: int = SEED) -> list[Path]:
    """Write OUT/TASK/TASK.parquet for each of the five tasks, as `convert` writes it."""
    paths = [out / task / f"{task}.parquet" for task in TASKS]
    for task, path in zip(TASKS, paths, strict=True):
        manifest.write(path, canonical.encoded(records(task, count, seed)))
    return paths
