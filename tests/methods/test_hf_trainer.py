"""HyCAM in HF's own training loop: `transformers.Trainer` on a tiny random Llama."""

import copy

import pytest
import torch
from peft import get_peft_model
from transformers import Trainer, TrainingArguments

from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from tests.methods.conftest import tiny, tokens

WEIGHT = 0.1


def adapted(balance_weight: float = WEIGHT):
    config = HyCAMConfig(r=4, num_specialized=3, balance_weight=balance_weight, task_type="CAUSAL_LM")
    model = get_peft_model(tiny("llama", torch.float32), config)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "hycam_b" in name:  # off zero, or the task would not reach the router at first
            parameter.data = 0.3 * torch.randn_like(parameter)
    return model


def trained(model, folder, rows: torch.Tensor, **changes) -> list[float]:
    """The losses that the Trainer logs, a step each; the rows come in their order, the same at every step."""
    options = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": len(rows),
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 7,
        **changes,
    }
    records = [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row} for row in rows]
    trainer = Trainer(model=model, args=TrainingArguments(**options), train_dataset=records)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.fixture
def no_noise(monkeypatch):
    """Gumbel noise of zero: it is minus the logarithm of an exponential variable."""
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self: self.fill_(1.0))


def test_the_trainer_lowers_the_loss_and_moves_what_is_trainable(tmp_path):
    """The loss falls, every trainable tensor has moved, the routers' among them, and no frozen bit has."""
    model = adapted()
    before = copy.deepcopy(model.state_dict())
    losses = trained(model, tmp_path, tokens(), max_steps=12)
    assert len(losses) == 12
    assert max(losses[-3:]) < min(losses[:3])
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("router" in name for name in moving)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in moving), name


def test_the_logged_loss_holds_the_balance_loss(tmp_path, no_noise):
    """Without and with the balance loss, the first logged losses differ by the auxiliary loss of that batch."""
    model = adapted().train()
    model(tokens(), attention_mask=torch.ones_like(tokens()))
    auxiliary = auxiliary_loss(model).item()
    assert auxiliary > 0.9 * WEIGHT / 3  # 1 / N_s is where tokens are spread evenly
    without, with_it = (trained(adapted(weight), tmp_path, tokens())[0] for weight in (0.0, WEIGHT))
    assert with_it - without == pytest.approx(auxiliary, rel=1e-4)


def test_accumulated_steps_are_those_of_the_whole_batch(tmp_path, no_noise):
    """Two micro-batches of the same rows log the losses of one batch of twice the rows, and move the weights as far."""
    rows, runs = tokens(), []
    for accumulation in (1, 2):
        model = adapted()
        changes = {"per_device_train_batch_size": 4 // accumulation, "gradient_accumulation_steps": accumulation}
        losses = trained(model, tmp_path, torch.cat((rows, rows)), max_steps=3, **changes)
        runs.append((losses, [p.detach() for p in model.parameters() if p.requires_grad]))
    (whole, whole_weights), (accumulated, weights) = runs
    assert accumulated == pytest.approx(whole, rel=1e-5)
    for one, other in zip(whole_weights, weights, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
