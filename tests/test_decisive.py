"""Which sources decide results, and so are in the digest of the code: those that a cell runs."""

from pathlib import Path

from data_prep.tasks import TASKS
from hycam_exp.method_settings import METHODS
from hycam_exp.runs import UNDECISIVE
from tests.test_house import ROOT, imports

# A cell imports them for what it says, and for who holds it.
SAID_OR_HELD = {
    f"hycam_exp/{name}.py" for name in ("command_line", "lease", "mirror", "misspelling", "printout", "terminal")
}
BY_NAME = [
    *(f"{method.module.replace('.', '/')}.py" for method in METHODS.values()),
    *(f"data_prep/{task}.py" for task in TASKS),
]


def _file(module: str) -> Path | None:
    base = ROOT / module.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def reached() -> set[str]:
    """Every source that a cell can import, at its top, inside a function or by a name in a table."""
    found: set[Path] = set()
    ahead = [ROOT / name for name in ("hycam_exp/cell.py", *BY_NAME)]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.add(path)
            own = (module for module in imports(path) if module.split(".")[0] in ("hycam_exp", "data_prep"))
            ahead += [file for module in own if (file := _file(module))]
    return {str(path.relative_to(ROOT)) for path in found}


def test_the_digest_is_of_what_a_cell_runs():
    """Every source that a cell imports is in it but for what is said or held, and no other: a change of how something
    is printed stops no cell from going on, and mixes with what was made before."""
    sources = [
        path.relative_to(ROOT) for folder in ("hycam_exp", "data_prep") for path in (ROOT / folder).rglob("*.py")
    ]
    decisive = {str(path) for path in sources if not set(path.parts[1:]) & set(UNDECISIVE)}
    empty = {name for name in decisive if name.endswith("__init__.py")}
    assert decisive - empty == reached() - SAID_OR_HELD - empty
