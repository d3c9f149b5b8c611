"""docs/extending.md, applied to a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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
    """Both of the page's methods pass every law of the battery."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/methods/test_contract.py"]
    chosen = ["-k", "ia3 or bottleneck or every_family", "-m", "not slow"]
    done = subprocess.run(
        [*command, *chosen], cwd=extended, env={"PYTHONPATH": str(extended), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    laws = (ROOT / "tests" / "methods" / "test_contract.py").read_text().count("\ndef test_")
    passed = re.search(r"(\d+) passed", done.stdout)
    dots = done.stdout.count(".") if passed is None else int(passed.group(1))
    assert dots >= 2 * (laws - 3)  # two laws are slow, one is of the battery itself


def test_own_lines_are_as_few_as_the_page_says() -> None:
    """The new method's module has at most about forty lines of code beside imports and blank ones."""
    blocks = {name: text for _, name, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text())}
    lines = [line for line in blocks["hycam_exp/methods/bottleneck.py"].splitlines() if line.strip()]
    code = [line for line in lines if not re.match(r"(from|import) |\s*\"\"\"", line)]
    assert len(code) <= 44
