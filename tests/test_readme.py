"""The README's evidence: what it says of our records is what they say."""

import csv
import json
import re
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev

import pytest

from hycam_exp.config import compose
from hycam_exp.identity import identity
from hycam_exp.report import titles
from hycam_exp.report.statistics import corrected_resampled_t, paired_t

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
SCORES = ("PPL", "BLEU-4", "ROUGE-L")


def tables() -> list[list[list[str]]]:
    """The cells of every table of the evidence, its heading first."""
    evidence = (ROOT / "README.md").read_text().split("<!-- evidence -->")[1].split("<!-- /evidence -->")[0]
    blocks = re.findall(r"(?:^\|.*\|\n)+", evidence, flags=re.MULTILINE)
    lines = [[line for line in block.splitlines() if not line.startswith("| ---")] for block in blocks]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block] for block in lines]


def committed(name: str) -> dict[tuple[str, str], dict[str, str]]:
    """A table of results/tables by row and column."""
    with (RESULTS / "tables" / f"{name}.csv").open() as stream:
        return {(line["row"], line["column"]): line for line in csv.DictReader(stream)}


def shown(line: dict[str, str]) -> str:
    return f"{float(line['value']):.3f} +- {float(line['spread']):.3f}"


def change(line: dict[str, str]) -> str:
    return f"{float(line['value']):+.1%}"


def check_row(cells: list[str], row: str, table: dict[tuple[str, str], dict[str, str]]) -> None:
    """A row of the README, from its scores on, against a row of a table of results."""
    folds, *scores = cells[:4]
    assert scores == [shown(table[row, score]) for score in SCORES]
    assert folds == table[row, "PPL"]["folds"]
    assert cells[4] == change(table[row, "general text PPL"])
    assert cells[5] == f"{float(table[row, 'trained parameters']['value']):,.0f}"


def test_the_methods_and_ablations_are_those_of_the_records():
    """Every number of the first table is that of `mini` or `mini_ablation`, and every method of them is there."""
    known = committed("mini_ablation") | committed("mini")
    rows = {name.replace(", unclipped", " (recipe.clip=null)"): cells for name, *cells in tables()[0][1:]}
    named = {re.sub(r"`(\w+)`", lambda found: titles.method(found[1]), name): cells for name, cells in rows.items()}
    assert set(named) == {row for row, _ in known}
    for row, cells in named.items():
        check_row(cells, row, known)


SWEPT = {1: "num_specialized", 2: "tau"}
PAPERS = {"num_specialized": 5, "tau": 0.5}


def swept(field: str) -> dict[float, list[float]]:
    """PPL of every fold by the value of a swept field, from the figure's numbers."""
    found = defaultdict(list)
    with (RESULTS / "figures" / "tiny_llama-mini" / f"{field}.csv").open() as stream:
        for line in sorted(csv.DictReader(stream), key=lambda line: line["fold"]):
            found[float(line[field])].append(float(line["ppl"]))
    return dict(sorted(found.items()))


@pytest.mark.parametrize(("position", "field"), SWEPT.items())
def test_the_sweeps_are_those_of_the_figures(position, field):
    """Every value of N_s and tau has the mean and the spread over folds of the figure's own numbers."""
    (_, *values), (_, *scores) = tables()[position]
    by_value = swept(field)
    assert [float(value) for value in values] == list(by_value)
    assert scores == [f"{fmean(found):.3f} +- {stdev(found):.3f}" for found in by_value.values()]


def test_no_swept_value_differs_from_the_papers():
    """By the corrected test the smallest p of all values against the paper's is that of the README, and N_s 1's."""
    found = {}
    for field, papers in PAPERS.items():
        by_value = swept(field)
        for value in by_value.keys() - {papers}:
            pair = by_value[value], by_value[papers]
            found[field, value] = corrected_resampled_t(*pair), paired_t(*pair)
    smallest = min(found, key=lambda name: found[name])
    assert smallest == ("num_specialized", 1)
    corrected, plain = (f"{p:.3f}" for p in found[smallest])
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"the smallest p is {corrected}, of N_s 1; the plain paired t-test calls that one {plain}" in text


def span(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def test_hycam_is_last_with_every_seed():
    """Of the five methods at each of six seeds, and the PPL of HyCAM and LoRA are within what the README says."""
    found = defaultdict(dict)
    for method in ("full_ft", "lora", "multi_lora", "riemoe_lora", "hycam"):
        run = identity(asdict(compose("experiment=mini", f"method={method}")))
        for path in (RESULTS / "runs").glob(f"tiny_llama-{method}-mini-f0-s*.json"):
            record = json.loads(path.read_text())
            own = identity(record["config"])
            if all(own[part] == run[part] for part in ("method", "recipe")):
                (ppl,) = (s["value"] for s in record["scores"] if (s["metric"], s["task"]) == ("ppl", "mean"))
                found[record["config"]["seed"]][method] = ppl
    assert sorted(found) == [0, 100, 200, 300, 400, 500]
    assert all(len(of_seed) == 5 and max(of_seed, key=of_seed.get) == "hycam" for of_seed in found.values())
    ours, lora = ([of_seed[method] for of_seed in found.values()] for method in ("hycam", "lora"))
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"its PPL is {span(ours)}, that of LoRA {span(lora)}" in text


def test_the_ladder_is_that_of_the_records():
    """Every rung from the paper's form to the released code's is that of `paper_vs_released`."""
    known = committed("paper_vs_released")
    rows = {name.replace("`", ""): cells for name, *cells in tables()[3][1:]}
    assert list(rows) == list(dict.fromkeys(row for row, _ in known))
    for row, cells in rows.items():
        check_row(cells, row, known)
