"""The numbers of one small cell of four methods: what RESULTS_VERSION stands for."""

import json
from pathlib import Path

import pytest
import torch

from hycam_exp.cell import run_cell
from hycam_exp.config.compose import compose
from hycam_exp.records.version import RESULTS_VERSION

GOLDEN = Path(__file__).with_name("golden.json")
METHODS = {"full_ft": 3e-3, "lora": 1e-2, "riemoe_lora": 1e-2, "hycam": 3e-2}
"""With a learning rate of their own, whatever is searched for the recipe."""
LAST = 3  # training losses at the end that are compared
OVERRIDES = (
    "data.max_per_task=12", "recipe.precision=float64", "recipe.global_batch_size=8", "recipe.epochs=1",
    "trainer.micro_batch_size=4", "evaluation.max_new_tokens=8", "recipe.compare_single=0",
)  # fmt: skip
WAY_OUT = (
    "a result has moved. If that was not meant, it is a fault. If it was, raise RESULTS_VERSION in "
    "hycam_exp/records/version.py with a line of history (once between two studies), and run "
    "`python -m tests.test_golden` to renew tests/golden.json in the commit that explains the change."
)


def measured(method: str, folder: Path) -> dict[str, float]:
    """Scores by metric and task, and the last training losses, of a float64 cell on a CPU."""
    text = folder / "general.txt"
    text.write_text("The river runs through the town.\n\nThe baker sells bread in the morning.")
    places = (f"model.retention_text={text}", f"paths.results={folder}", f"paths.outputs={folder}/outputs")
    run = compose(*OVERRIDES, *places, f"method={method}", f"recipe.learning_rate={METHODS[method]}")
    record = run_cell(run)
    scores = {f"{score.metric}/{score.task}": score.value for score in record.scores if score.value is not None}
    losses = {f"loss/{row['step']}": row["loss"] for row in record.curves.train[-LAST:]}
    return {**scores, **losses}


@pytest.mark.parametrize("method", METHODS)
def test_no_number_has_moved(method, tmp_path):
    """Scores and last training losses equal the committed ones of this version to 1e-9, relative."""
    golden = json.loads(GOLDEN.read_text())
    assert golden["results_version"] == RESULTS_VERSION, WAY_OUT
    found = measured(method, tmp_path)
    assert found.keys() == golden[method].keys(), WAY_OUT
    moved = [
        f"{name}: {value!r}, was {golden[method][name]!r}"
        for name, value in found.items()
        if value != pytest.approx(golden[method][name], rel=1e-9, abs=1e-12)
    ]
    assert not moved, "\n".join([WAY_OUT, *moved])


if __name__ == "__main__":
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = {method: measured(method, Path(folder)) for method in METHODS}
    GOLDEN.write_text(json.dumps({"results_version": RESULTS_VERSION, **found}, indent=1) + "\n")
