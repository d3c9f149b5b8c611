"""The rules of the house: who imports whom, how long things are, and what the page of the architecture says."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts import architecture

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("hycam_exp", "data_prep", "scripts")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "__pycache__" not in path.parts)
LONGEST_FILE, LONGEST_FUNCTION = 400, 80
FLOORS = (
    ("runtime",),
    ("config",),
    ("models", "methods", "data"),
    ("training",),
    ("evaluation",),
    ("records",),
    ("cell",),
    ("launch",),
    ("__main__", "generate", "push", "lm_eval"),
)
"""A room imports itself and rooms below it; two rooms of one floor may know each other."""
BESIDE = {
    "plan": {"runtime", "config", "models", "methods", "data", "training", "plan"},
    "report": {"runtime", "config", "records", "report"},
}
"""The rooms beside the flow, and what they import whole."""
DOORS = {
    "plan": {"hycam_exp/launch/cell_status.py", "hycam_exp/records/store.py"},
    "report": {
        "hycam_exp/launch/cell_status.py", "hycam_exp/evaluation/metrics.py", "hycam_exp/evaluation/retention.py",
        "hycam_exp/data/table1.py", "hycam_exp/generate.py",
    },
}  # fmt: skip
"""Single files that they import of other rooms; of figures that need a model see `OF_A_MODEL`."""
OF_A_MODEL = {
    "hycam_exp/report/figures/trained.py",
    "hycam_exp/report/figures/tsne.py",
    "hycam_exp/report/figures/weight_matrix.py",
}
ANYWHERE = {"hycam_exp/records/version.py"}
"""A number without imports, by which a token file is known as well."""
NAMELESS = re.compile(r"(utils?|helpers?|common|manager|misc)\.py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    """A source's syntax, read once for all tests."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, at its top or inside a function; not those for type checkers."""
    return tuple(_imports(parsed(path)))


def _imports(tree: ast.Module) -> Iterator[str]:
    skipped = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(module: str) -> set[str]:
    """The files that import a module or anything in it."""
    return {name_of(p) for p in SOURCES if any(i == module or i.startswith(f"{module}.") for i in imports(p))}


def room(name: str) -> str:
    """hycam_exp/data/folds.py is in data, hycam_exp/cell.py a room of its own."""
    return name.split("/")[1].removesuffix(".py")


def imported_files(path: Path) -> set[str]:
    """The project's files that a file imports."""
    candidates = {f"{module.replace('.', '/')}{end}" for module in imports(path) for end in (".py", "/__init__.py")}
    return {name for name in candidates if (ROOT / name).is_file() and name.startswith("hycam_exp/")}


@pytest.mark.parametrize("path", [p for p in SOURCES if name_of(p).startswith("hycam_exp/")], ids=name_of)
def test_nothing_is_imported_upwards(path):
    """runtime <- config <- models, methods, data <- training <- evaluation <- records <- cell <- launch <- __main__."""
    name = name_of(path)
    own = room(name)
    if own == "__init__":
        return
    if own in BESIDE:
        foreign = {f for f in imported_files(path) if room(f) not in BESIDE[own] | {"__init__"}}
        assert name in OF_A_MODEL or foreign <= DOORS[own] | ANYWHERE
        return
    floor = {each: number for number, rooms in enumerate(FLOORS) for each in rooms}
    above = {f for f in imported_files(path) if floor.get(room(f), 0 if room(f) == "__init__" else 99) > floor[own]}
    assert above <= ANYWHERE


def test_lightning_stays_in_training_its_parts_and_the_data_module():
    """The rest does not know how training is driven."""
    allowed = (
        "training/fit",
        "training/checkpoints",
        "training/rank_allocation",
        "training/strategies",
        "training/loggers",
        "data/module",
    )
    assert importers("pytorch_lightning") == {f"hycam_exp/{name}.py" for name in allowed}


def test_hydra_stays_in_config_and_the_entry():
    """Beyond `read` there are plain dataclasses; a grid is what Hydra's sweep makes of a command line."""
    allowed = {
        f"hycam_exp/{name}.py" for name in ("config/compose", "config/grid", "config/errors", "__main__", "launch/jobs")
    }
    assert importers("hydra") <= allowed
    assert importers("omegaconf") <= allowed


def test_a_plan_imports_nothing_heavy():
    """It answers before torch would have loaded."""
    heavy = ("torch", "transformers", "peft", "pytorch_lightning", "datasets", "pandas")
    for module in heavy:
        assert not {name for name in importers(module) if name.startswith("hycam_exp/plan/")}, module


LOOKING = ("__main__", "check", "stats", "preview")  # commands of data_prep that show what training would see


def test_only_sources_reaches_data_prep():
    """In the package, `data/sources.py` alone imports data_prep, whose readers and converters know records alone."""
    assert {n for n in importers("data_prep") if n.startswith("hycam_exp")} == {"hycam_exp/data/sources.py"}
    for path in (p for p in SOURCES if name_of(p).startswith("data_prep")):
        own = {i for i in imports(path) if i.startswith("hycam_exp.")}
        allowed = "hycam_exp.data" if path.stem in LOOKING else "hycam_exp.data.records"
        assert all(i.startswith((allowed, "hycam_exp.runtime.")) for i in own), path


def test_methods_import_torch_and_peft():
    """transformers appears in methods/ only where a module must be recognised: nowhere so far."""
    allowed = {"torch", "peft", "safetensors", "hycam_exp"} | set(sys.stdlib_module_names)
    for path in (ROOT / "hycam_exp" / "methods").glob("*.py"):
        assert {i.split(".")[0] for i in imports(path)} <= allowed, path


def test_nothing_imports_the_cell_but_the_entry():
    """The story is told once, from the top."""
    assert importers("hycam_exp.cell") == {"hycam_exp/__main__.py"}


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name_of)
def test_files_and_functions_are_short(path):
    """No file above 400 lines, no function above 80, no name that says nothing."""
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    assert not NAMELESS.fullmatch(path.name)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sources_are_ascii(path):
    """Tests hold other texts."""
    assert path.read_text().isascii()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_things_are_typed_and_said(path):
    """A module, a public class and a public function say what they are, and functions are typed."""
    tree = parsed(path)
    assert ast.get_docstring(tree), "module"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not untyped, f"{node.name}: {untyped}"


def test_the_architecture_page_is_that_of_the_tree():
    """docs/architecture.md is what the sources say of themselves: `python -m scripts.architecture` writes it anew."""
    assert architecture.OUT.read_text() == architecture.page()


def literals(node: ast.AST) -> Iterator[str]:
    """Every text below a node, docstrings and parts of formatted ones included."""
    yield from (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))


ELSEWHERE = ("hycam_exp/report/", "data_prep/")


def test_what_marks_an_error_is_written_once():
    """The mark that a launcher looks for in what a cell printed."""
    own = [path for path in SOURCES if not name_of(path).startswith(ELSEWHERE)]
    by_hand = [name_of(p) for p in own if any(t.startswith("error: ") for t in literals(parsed(p)))]
    assert by_hand == ["hycam_exp/runtime/command_line.py"]


def test_scores_of_general_text_are_asked_for_by_its_name():
    """`evaluation.retention.TASK`, not its value."""
    for path in [path for path in SOURCES if not name_of(path).startswith(ELSEWHERE)]:
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        asked = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "score"]
        assert not [call.lineno for call in asked if "retention" in literals(call)], path


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_exception_is_swallowed(path):
    """An except clause does something."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            assert not all(isinstance(statement, ast.Pass) for statement in node.body)
