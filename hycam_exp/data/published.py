"""The paper's own numbers, as committed in results/published: the one place of them. Standard library only."""

import csv
from pathlib import Path


def folder() -> Path:
    """The folder of tables: inside the package in an installed wheel, in results/ in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "published"
    return installed if installed.is_dir() else package.parent / "results" / "published"


def table(name: str) -> list[dict[str, str]]:
    """The rows of a table, e.g. `table("table1_datasets")[0]["task"]` is auto_cot."""
    with (folder() / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
