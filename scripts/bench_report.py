"""Seconds of a report of the paper's whole benchmark: the first, one with a record more, and one with nothing new.

python -m scripts.bench_report [--folder DIR] [--steps 8842] [--samples 6735] [--out results/benchmarks/report.json]

The records are made up: their configs are the experiments' own, the rest is that of the committed runs of the same
method, as long as on the paper's data. `seconds` are those of a machine as it was, others' work on it included;
`of_first` is the share of the first report's processor seconds.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hycam_exp.config.grid import expand, runs
from hycam_exp.config.identity import run_id
from hycam_exp.config.settings import Run
from hycam_exp.evaluation.samples import TEXTS_PER_TASK
from hycam_exp.records.build import windows
from hycam_exp.records.provenance import PACKAGE
from hycam_exp.records.store import RunRecord, Store
from hycam_exp.runtime.command_line import Parser
from hycam_exp.runtime.cost import hardware
from hycam_exp.runtime.files import write_atomically

EXPERIMENTS = (
    "table2_main", "table3_qwen_sizes", "table4_llama32", "table6_ablation", "budget_matched",
    "figure_loss_curves", "figure_num_specialized", "figure_tau",
)  # fmt: skip
"""What the paper's tables and figures need: 400 cells."""
COMMITTED = Path("results/studies/mini/records")
CONTENT = {"data": "paper_mix", "retention": "retention"}
VALIDATIONS, TEXT = 12, 600  # of a run; characters of a prediction


@dataclass(frozen=True)
class Length:
    """How long a run's parts are."""

    steps: int
    samples: int


def benchmark(experiments: Sequence[str] = EXPERIMENTS) -> list[Run]:
    """Every cell of the experiments, once."""
    cells = [cell for experiment in experiments for cell in expand([f"experiment={experiment}"])]
    return list({run_id(run, CONTENT): run for run in runs(cells)}.values())


def write(run: Run, store: Store, length: Length) -> None:
    """A record and its samples file, made up of the committed run of that method and fold."""
    template = _template(run.method.name, run.fold)
    name = run_id(run, CONTENT)
    rng = random.Random(name)
    record = replace(
        template,
        run_id=name,
        config=asdict(run),
        scores=[replace(s, value=s.value * rng.uniform(0.9, 1.1) if s.value else s.value) for s in template.scores],
        curves=_curves(length.steps, rng),
        routing=list(_routing(template, (run.model.architecture or {}).get("num_hidden_layers", 6))),
        data={"files": [], "content": CONTENT["data"], "split": f"split of fold {run.fold}"},
        notes=[],
    )
    store.write(record)
    sink = pa.BufferOutputStream()
    pq.write_table(_samples(run, length.samples, rng), sink, compression="zstd")
    write_atomically(store.samples_path(name), sink.getvalue().to_pybytes())


@lru_cache
def _template(method: str, fold: int) -> RunRecord:
    """The committed run of a method; of another method, LoRA's."""
    store = Store(COMMITTED, COMMITTED)
    found = {name: sorted(COMMITTED.glob(f"*-{name}-mini-f{fold}-*.json")) for name in (method, "lora")}
    record = store.read((found[method] or found["lora"])[0].stem)
    assert record is not None, "its file is there"
    return record


def _curves(steps: int, rng: random.Random) -> dict[str, list[dict[str, float]]]:
    every = max(1, steps // VALIDATIONS)
    train: list[dict[str, float]] = [
        {
            "step": step, "loss": rng.uniform(1, 2) + 2 / step, "auxiliary_loss": rng.random() / 10,
            "learning_rate": 2e-5 * (1 - step / (steps + 1)), "gradient_norm": rng.uniform(0.5, 2),
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip
    validation = [{"step": step, "loss": 1.4 + rng.random() / 50 + 2 / step} for step in range(every, steps + 1, every)]
    return {"train": windows(train), "validation": validation}


def _routing(template: RunRecord, blocks: int) -> Iterator[dict[str, Any]]:
    """The rows of the template's first block for as many blocks."""
    for block in range(blocks):
        for row in template.routing:
            if ".layers.0." in row["layer"]:
                yield {**row, "layer": row["layer"].replace(".layers.0.", f".layers.{block}.")}


def _samples(run: Run, count: int, rng: random.Random) -> pa.Table:
    """The rows of the committed samples file of that method and fold, repeated; texts for the first of each task."""
    template = _template(run.method.name, run.fold)
    held = pq.read_table(Store(COMMITTED, COMMITTED).samples_path(template.run_id)).to_pylist()
    text = (PACKAGE / "assets" / "tiny_llama" / "retention.txt").read_text(encoding="utf-8")
    of_fold = random.Random(run.fold)
    rows = []
    for task in run.data.tasks:
        alike = [row for row in held if row["task"] == task]
        for number in range(count // len(run.data.tasks)):
            row = {**alike[number % len(alike)], "id": f"{task}-{run.fold}-{number:08d}", "group": f"{task} {number}"}
            texts = [_cut(text, rng), _cut(text, of_fold)] if number < TEXTS_PER_TASK else [None, None]
            rows.append({**row, "prediction": texts[0], "reference": texts[1]})
    return pa.Table.from_pylist(rows)


def _cut(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) - TEXT)
    return text[start : start + TEXT]


def report(folder: Path) -> dict[str, float]:
    """Seconds of one report, in a process of its own, and the processor's."""
    command = [sys.executable, "-m", "hycam_exp.report", "--results", str(folder), "--outputs", str(folder / "outputs")]
    before, start = _processor(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, processor = time.perf_counter() - start, _processor() - before
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: {done.stderr.strip()}")
    return {"seconds": round(wall, 2), "processor_seconds": round(processor, 2)}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(found: Sequence[Run], folder: Path, length: Length) -> dict[str, dict[str, float]]:
    """The three reports, one after the other; the record that is added is the first cell's with another seed."""
    store = Store(folder / "runs", folder)
    for run in found:
        write(run, store, length)
    first = report(folder)
    write(replace(found[0], seed=1), store, length)
    return shared({"first": first, "one_record_more": report(folder), "unchanged": report(folder)})


def shared(measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The same with every report's share of the first one's processor seconds."""
    whole = measured["first"]["processor_seconds"]
    return {
        name: {**values, "of_first": round(values["processor_seconds"] / whole, 3)} for name, values in measured.items()
    }


def main() -> None:
    """Make the records, measure, print, write."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="where the records go and stay; default: a temporary folder")
    parser.add_argument("--steps", type=int, default=8842, help="of training: the default is three epochs of Table 1")
    parser.add_argument("--samples", type=int, default=6735, help="tested: the default is a tenth of Table 1")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/report.json"))
    arguments = parser.parse_args()
    found = benchmark()
    with tempfile.TemporaryDirectory() as temporary:
        measured = measure(found, arguments.folder or Path(temporary), Length(arguments.steps, arguments.samples))
    setting = {"records": len(found), "steps": arguments.steps, "samples": arguments.samples}
    result = {"setting": setting, "hardware": hardware("cpu"), "measured": measured}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
