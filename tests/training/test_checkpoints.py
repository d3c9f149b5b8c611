"""What training leaves on disk: whole, and seen where it is not what was written."""

import pytest

from hycam_exp.runtime.files import seal_of
from hycam_exp.training.checkpoints import Checkpoints, load_best, set_aside_damaged
from tests.training.test_fit import run_of, trained


def test_the_best_weights_file_is_replaced_whole(tmp_path):
    """No part of a checkpoint is left under a temporary name."""
    run = run_of(tmp_path, "method=lora", "recipe.epochs=2", "trainer.checkpoint_every_steps=1")
    trained(tmp_path, run)
    checkpoints = Checkpoints(tmp_path / "training", 1, 1)
    kept = (checkpoints.best, checkpoints.last)
    assert sorted((tmp_path / "training").iterdir()) == [path for file in kept for path in (file, seal_of(file))]


@pytest.mark.parametrize("name", ["last.ckpt", "best.safetensors", "last.ckpt.sha256", "best.safetensors.sha256"])
def test_a_damaged_training_folder_is_set_aside(tmp_path, name):
    """One flipped bit anywhere in checkpoint, best weights or seals: the folder is moved away and named; a whole one
    is left alone."""
    folder = tmp_path / "training"
    trained(tmp_path, run_of(tmp_path, "method=lora", "trainer.checkpoint_every_steps=1"))
    assert set_aside_damaged(folder) is None
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    told = set_aside_damaged(folder)
    assert told == f"{name.removesuffix('.sha256')} was damaged: training began again, and what there was lies in " + (
        "training.damaged"
    )
    assert not folder.exists()
    assert (tmp_path / "training.damaged" / name).read_bytes() == content


def test_damaged_best_weights_are_not_scored(tmp_path):
    """Weights that changed on disk since they were written are refused by name."""
    model, _ = trained(tmp_path, run_of(tmp_path, "method=lora"))
    best = tmp_path / "training" / "best.safetensors"
    content = bytearray(best.read_bytes())
    content[-1] ^= 1
    best.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{best}: damaged since it was written; the same command trains again"):
        load_best(model, best.parent)
