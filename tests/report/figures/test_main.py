"""The command, and who may load torch."""

from pathlib import Path

import pytest

from hycam_exp.records.store import Store
from hycam_exp.report.figures.__main__ import main
from tests.report.figures.made import record
from tests.test_house import imports

ROOT = Path(__file__).parents[3]
WITH_MODEL = ("trained", "weight_matrix", "tsne")


def test_only_the_figures_of_a_model_import_torch():
    """In report/, torch and what loads it is imported by the figures that need a model."""
    heavy = ("torch", "transformers", "peft", "hycam_exp.models.backbone", "hycam_exp.generate", "hycam_exp.methods")
    for path in (ROOT / "hycam_exp" / "report").rglob("*.py"):
        loading = [found for found in imports(path) if found.startswith(heavy)]
        assert not loading or path.stem in WITH_MODEL, (path, loading)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs=x"], "error: argument=runs=x: must be one of run="),
        (["blocks=1"], "error: blocks=1: belongs to a run"),
        (["run=x", "blocks=a"], "error: blocks=a: must be numbers of blocks"),
        ([], "error: results=.*: no record in .*runs"),
        (["run=x"], "error: run=x: no finished run there .*python -m hycam_exp method=hycam"),
        (["run=m-lora-mini-f0-s0"], "error: run=m-lora-mini-f0-s0: method lora has no modulation"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, message, tmp_path):
    """It names the argument and the way out."""
    if any("m-lora" in argument for argument in arguments):
        Store(tmp_path / "runs", tmp_path).write(record("lora"))
    with pytest.raises(SystemExit, match=message):
        main([*arguments, f"results={tmp_path}", f"outputs={tmp_path}"])


def test_help_is_light(capsys):
    """The usage."""
    main(["--help"])
    assert "run=RUN_ID" in capsys.readouterr().out
