"""Writes docs/architecture.md: the rooms of the house and a line for every file, from the files' own docstrings.

python -m scripts.architecture
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "architecture.md"
HEAD = """# The house

A number is made along this line; each noun is a type, each arrow one function:

    raw file -> Record -> Split -> Tokens -> Batch -> backbone + method -> FineTuning -> Scores -> RunRecord
    RunRecord -> frame -> table, figure, page

`hycam_exp/cell.py` runs one cell from its records to its record, and is the first file to read. Each folder below is a
room; who may import whom is held by `tests/test_house.py`. The lines are the files' own first sentences
(`python -m scripts.architecture` writes this page, and a test holds it to the tree).
"""
PACKAGES = ("hycam_exp", "data_prep", "scripts")


def first_sentence(path: Path) -> str:
    """What a source says of itself: the first paragraph of its docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def lines(folder: Path) -> Iterator[str]:
    """A folder's heading with what its `__init__` says, a line a file, then its folders alike."""
    name = folder.relative_to(ROOT)
    about = folder / "__init__.py"
    yield f"\n## {name}/\n"
    if about.is_file() and (said := first_sentence(about)):
        yield f"{said}\n"
    yield from (f"- `{path.name}`: {first_sentence(path)}" for path in sorted(folder.glob("*.py")) if path != about)
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))):
        yield from lines(inner)


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(line for name in PACKAGES for line in lines(ROOT / name)) + "\n"


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
