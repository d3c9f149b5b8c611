"""docs/extending.md, applied to a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALONE = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
BLOCK = re.compile(r"```\w+ (file|append)=(\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with every code block of the page in its place."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("hycam_exp", "data_prep", "conf", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for how, name, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        with (copy / name).open("a" if how == "append" else "x") as stream:
            stream.write(("\n\n" if how == "append" else "") + text)
    return copy


def test_examples_pass_the_battery(extended: Path) -> None:
    """The page's new method passes every law of the battery."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/methods/test_contract.py"]
    chosen = ["-k", "bottleneck or every_family", "-m", "not slow"]
    done = subprocess.run(
        [*command, *chosen], cwd=extended, env={**ALONE, "PYTHONPATH": str(extended)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    laws = (ROOT / "tests" / "methods" / "test_contract.py").read_text().count("\ndef test_")
    passed = re.search(r"(\d+) passed", done.stdout)
    dots = done.stdout.count(".") if passed is None else int(passed.group(1))
    assert dots >= laws - 4  # two laws are slow, one is of the battery itself, one of our own tuners


OF_PEFT = """
import torch
from hycam_exp.config.compose import compose
from hycam_exp.methods import attach, budget
from tests.methods.conftest import tiny

settings, chosen = budget.prepared(compose("method=loha", "method.match=20000").method, tiny("llama").config)
model = attach(tiny("llama", torch.float32), settings)
trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
assert abs(trained - 20000) <= 2000 and chosen["r"] == settings.config["alpha"], (trained, chosen)
"""


def test_one_of_pefts_is_a_file_alone(extended: Path) -> None:
    """The page's YAML file is a method: composed, matched to a budget and attached, without a line of Python."""
    done = subprocess.run(
        [sys.executable, "-c", OF_PEFT], cwd=extended, capture_output=True, text=True,
        env={"PYTHONPATH": str(extended), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_own_lines_are_as_few_as_the_page_says() -> None:
    """The new method's module has at most about forty lines of code beside imports and blank ones."""
    blocks = {name: text for _, name, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text())}
    lines = [line for line in blocks["hycam_exp/methods/bottleneck.py"].splitlines() if line.strip()]
    code = [line for line in lines if not re.match(r"(from|import) |\s*\"\"\"", line)]
    assert len(code) <= 44


SHOWS = """
import sys
from pathlib import Path

import pyarrow.parquet as pq

from hycam_exp.evaluation.overlap import overlap, scores
from hycam_exp.report import published
from hycam_exp.report.page import document
from hycam_exp.report.samples import RESAMPLED
from hycam_exp.report.tables.build import build
from hycam_exp.report.tables.text import contents
from tests.report.page.page_content import content
from tests.report.toy import known_experiments, record, selection_of

found = scores([overlap(id=str(n), task="t", prediction=p, reference="a b") for n, p in enumerate(("a b ", "a", "b"))])
assert {s.task: (s.value, s.n) for s in found if s.metric == "exact_match"} == {
    "t": (1 / 3, 3), "mean": (1 / 3, 1), "pooled": (1 / 3, 3),
}
assert published.read().tables
assert "exact_match" in RESAMPLED
report = build(selection_of([record(0, 2.0)]), known_experiments())
tables = {table.name: contents(table) for table in report.tables}
assert "| Exact match" in tables["table2_main"]["table2_main.md"]
assert "| peak GB |" in tables["mini"]["mini.md"]
page = document(content(Path(sys.argv[1])))
assert page.count("Exact match") >= 1
"""


def test_a_metric_and_a_column_are_one_file_each(extended: Path, tmp_path: Path) -> None:
    """The page's metric is scored from texts, and stands in tables, bootstrap and page without another change; the
    paper's tables are read as before. The page's column stands in its table."""
    shutil.copytree(ROOT / "results" / "published", extended / "results" / "published")
    done = subprocess.run(
        [sys.executable, "-c", SHOWS, str(tmp_path)], cwd=extended, capture_output=True, text=True,
        env={**ALONE, "PYTHONPATH": str(extended)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
