"""AdaLoRA's share of a step: what is cut and when, what a checkpoint keeps of it, and what is saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hycam_exp.methods import adapter_file
from hycam_exp.training.fit import FineTuning
from tests.methods.conftest import tiny, tokens
from tests.training.test_fit import fold, run_of, trained

INIT, TARGET, LAYERS = 6, 2, 14
ADALORA = (
    "method=adalora", f"method.config.init_r={INIT}", f"method.config.target_r={TARGET}", "method.config.tinit=20",
    "method.config.tfinal=30", "recipe.epochs=10", "recipe.patience=99", "recipe.precision=float32",
)  # fmt: skip
STEPS = 20  # of 16 records in steps of 8, ten times


def parts(model: Any) -> int:
    """How many rank-one parts of all layers are not cut."""
    return sum(int(p.count_nonzero()) for n, p in model.named_parameters() if "lora_E" in n)


def test_ranks_are_cut_from_the_first_share_of_a_run_to_the_last(tmp_path: Path, monkeypatch: Any) -> None:
    """All parts stay for 20% of the steps, no more return later, and for the last 30% there are the target's."""
    left = []
    record = FineTuning._record_step

    def noting(self: FineTuning, batch_idx: int) -> None:
        record(self, batch_idx)
        left.append(parts(self.model))

    monkeypatch.setattr(FineTuning, "_record_step", noting)
    model, result = trained(tmp_path, run_of(tmp_path, *ADALORA), dtype=torch.float32)
    config = model.peft_config["default"]
    assert result.steps == STEPS == config.total_step
    assert (config.tinit, config.tfinal) == (4, 6)
    # A callback acts before the module: what is noted after step k is what is left after it.
    assert left[:4] == [INIT * LAYERS] * 4
    assert left == sorted(left, reverse=True)
    assert left[-6:] == [TARGET * LAYERS] * 6
    assert len(set(left)) > 4


def test_what_is_saved_is_what_was_measured(tmp_path: Path) -> None:
    """The best weights are saved whole, whatever the last step cut: loaded again they give the same bits."""
    model, _ = trained(tmp_path, run_of(tmp_path, *ADALORA), dtype=torch.float32)
    model.eval().save_pretrained(tmp_path / "adapter")
    loaded = adapter_file.load(tiny("llama", torch.float32), tmp_path / "adapter").eval()
    assert torch.equal(loaded(tokens()).logits, model(tokens()).logits)


@pytest.mark.parametrize("dies_at", [9, 16])  # while ranks are cut, and after the last cut
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: Any, dies_at: int) -> None:
    """The allocator's means and the last cut are in the checkpoint."""
    options = (*ADALORA, "trainer.checkpoint_every_steps=1")
    run, data = run_of(tmp_path, *options), fold()
    model, whole = trained(tmp_path / "whole", run, data, dtype=torch.float32)
    step = FineTuning.training_step

    def dying(self: FineTuning, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == dies_at:
            raise KeyError("power")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FineTuning, "training_step", dying)
    with pytest.raises(KeyError):
        trained(tmp_path / "parts", run, data, dtype=torch.float32)
    monkeypatch.setattr(FineTuning, "training_step", step)
    resumed, result = trained(tmp_path / "parts", run, data, dtype=torch.float32)
    assert result.train_curve == whole.train_curve
    assert result.validation_curve == whole.validation_curve
    for p, q in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
