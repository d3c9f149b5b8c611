"""The README's evidence: what it says of our records is what they say."""

import csv
import json
import re
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from hycam_exp.config import compose
from hycam_exp.identity import identity
from hycam_exp.report import titles
from hycam_exp.report.statistics.significance import corrected_resampled_t, paired_t

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


def runs(method: str, seeds: bool, *swept: str) -> list[dict[str, Any]]:
    """Records on the mini set, of fold 0 or of seed 0, that differ from the method's YAML in swept fields alone."""
    expected = identity(asdict(compose("experiment=mini", f"method={method}")))
    found = []
    for path in (RESULTS / "runs").glob(f"tiny_llama-{method}-mini-{'f0-s*' if seeds else 'f*-s0'}-*.json"):
        record = json.loads(path.read_text())
        own = identity(record["config"])
        settings = own["method"] | {field: expected["method"][field] for field in swept}
        if settings == expected["method"] and own["recipe"] == expected["recipe"]:
            found.append(record)
    return sorted(found, key=lambda record: (record["config"]["fold"], record["config"]["seed"]))


def score(record: dict[str, Any], metric: str, task: str = "mean") -> float:
    (value,) = (s["value"] for s in record["scores"] if (s["metric"], s["task"]) == (metric, task))
    return value


def readme() -> str:
    return " ".join((ROOT / "README.md").read_text().split())


def test_what_is_said_of_swept_values():
    """By PPL none differs; of the other scores two of 22 have a p below 0.05, and none after Holm's correction."""
    found = {}
    for field, papers in PAPERS.items():
        others = [name for name in PAPERS if name != field]
        of_field = [
            r for r in runs("hycam", False, field) if all(r["config"]["method"][o] == PAPERS[o] for o in others)
        ]
        for metric in ("ppl", "bleu4", "rouge_l"):
            by_value = defaultdict(list)
            for record in of_field:
                by_value[record["config"]["method"][field]].append(score(record, metric))
            for value in by_value.keys() - {papers}:
                pair = by_value[value], by_value[papers]
                sign = fmean(pair[0]) > fmean(pair[1])
                found[metric, field, value] = corrected_resampled_t(*pair), paired_t(*pair), sign
    (ppl, plain, _) = min(p for (metric, *_), p in found.items() if metric == "ppl")
    assert found["ppl", "num_specialized", 1][0] == ppl
    assert f"the smallest p is {ppl:.3f}, of N_s 1; the plain paired t-test calls that one {plain:.3f}" in readme()
    others = {name: p for name, p in found.items() if name[0] != "ppl"}
    below = {name: (f"{p:.3f}", higher) for name, (p, _, higher) in others.items() if p < 0.05}
    assert len(others) == 22
    assert below == {
        ("rouge_l", "num_specialized", 3): ("0.027", False),
        ("bleu4", "num_specialized", 7): ("0.037", True),
    }
    assert min(p for p, *_ in found.values()) * len(found) > 0.05


def span(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def test_what_is_said_of_seeds():
    """By PPL HyCAM is last with each of six; by BLEU-4 and ROUGE-L it is behind all but LoRA, which varies most."""
    methods = ("full_ft", "lora", "multi_lora", "riemoe_lora", "hycam")
    found = {method: runs(method, True) for method in methods}
    assert {tuple(r["config"]["seed"] for r in of_method) for of_method in found.values()} == {
        (0, 100, 200, 300, 400, 500)
    }
    values = {m: {name: [score(r, m) for r in found[name]] for name in methods} for m in ("ppl", "bleu4", "rouge_l")}
    assert all(max(of_seed) == of_seed[-1] for of_seed in zip(*values["ppl"].values(), strict=True))
    for metric in ("bleu4", "rouge_l"):
        full_ft, lora, multi, riemoe, hycam = values[metric].values()
        assert all(ours < min(others) for ours, *others in zip(hycam, full_ft, multi, riemoe, strict=True))
        assert sum(ours > theirs for ours, theirs in zip(hycam, lora, strict=True)) == 4
        assert lora[0] == max(lora)
    assert f"{span(values['ppl']['hycam'])}, LoRA's {span(values['ppl']['lora'])}" in readme()
    ours, lora = values["bleu4"]["hycam"], values["bleu4"]["lora"]
    assert f"{span(lora)} (mean {fmean(lora):.3f}, HyCAM's {fmean(ours):.3f})" in readme()
    assert sum(score(record, "bleu4", "icliniq") < 0.01 for record in found["lora"]) == 3


def test_the_ladder_is_that_of_the_records():
    """Every rung from the paper's form to the released code's is that of `paper_vs_released`."""
    known = committed("paper_vs_released")
    rows = {name.replace("`", ""): cells for name, *cells in tables()[3][1:]}
    assert list(rows) == list(dict.fromkeys(row for row, _ in known))
    for row, cells in rows.items():
        check_row(cells, row, known)
