"""HyCAM in TRL's supervised fine-tuning, on the embedded backbone."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.models import files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*is deprecated:FutureWarning"),  # TRL to transformers
    pytest.mark.skipif(find_spec("trl") is None, reason="no trl: pip install 'hycam-exp[eval]'"),
]
BACKBONE = files.ASSETS / "tiny_llama"
RECORDS = [
    {"prompt": f"Add {a} and {b}.", "completion": f" The sum of {a} and {b} is {a + b}."}
    for a, b in ((2, 3), (4, 1), (7, 2), (5, 5))
]


class RouterGradients(TrainerCallback):
    """Keeps the largest absolute entry of the routers' gradients at each step."""

    def __init__(self) -> None:
        self.largest: list[float] = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        gradients = [p.grad for name, p in model.named_parameters() if "router" in name]
        self.largest.append(max(gradient.abs().max().item() for gradient in gradients if gradient is not None))


def backbone():
    return AutoModelForCausalLM.from_pretrained(BACKBONE, dtype=torch.float32)


def trainer(folder: Path, balance_weight: float = 0.1, **changes):
    """TRL's trainer, which attaches HyCAM itself."""
    from trl import SFTConfig, SFTTrainer

    options = {
        "output_dir": str(folder),
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "seed": 7,
        "router_aux_loss_coef": 1.0,
        **changes,
    }
    return SFTTrainer(
        model=backbone(),
        args=SFTConfig(**options),
        train_dataset=Dataset.from_list(RECORDS),
        processing_class=AutoTokenizer.from_pretrained(BACKBONE),
        peft_config=HyCAMConfig(task_type="CAUSAL_LM", r=4, num_specialized=3, balance_weight=balance_weight),
    )


def losses(trained) -> list[float]:
    return [entry["loss"] for entry in trained.state.log_history if "loss" in entry]


def test_trl_trains_hycam_and_its_router(tmp_path):
    """The loss falls, the router gets a gradient and moves, and the saved adapter gives the trained model's logits."""
    training, seen = trainer(tmp_path / "run"), RouterGradients()
    training.add_callback(seen)
    before = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    training.train()
    assert max(losses(training)[-2:]) < min(losses(training)[:2])
    assert min(seen.largest) > 0  # at the first step, where B is zero, from the balance loss alone
    for name, parameter in training.model.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
    training.save_model(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(backbone(), tmp_path / "adapter")
    ids = torch.arange(3, 40)[None]
    assert torch.equal(loaded.eval()(ids).logits, training.model.eval()(ids).logits)


def test_the_balance_loss_is_part_of_trls_loss(tmp_path, monkeypatch):
    """With router_aux_loss_coef=1.0 the first losses with and without balance weight differ by the auxiliary loss."""
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self: self.fill_(1.0))  # Gumbel noise of zero
    weighted, unweighted = trainer(tmp_path, max_steps=1), trainer(tmp_path, balance_weight=0.0, max_steps=1)
    batch = next(iter(weighted.get_train_dataloader()))
    weighted.model.train()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    auxiliary = auxiliary_loss(weighted.model).item()
    for training in (weighted, unweighted):
        training.train()
    assert losses(weighted)[0] - losses(unweighted)[0] == pytest.approx(auxiliary, rel=1e-3)
    assert weighted.state.log_history[0]["aux_loss"] == pytest.approx(auxiliary, rel=1e-3)


def test_accumulated_steps_count_the_balance_loss_once(tmp_path, monkeypatch):
    """Two micro-batches of the same rows log the loss of one."""
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self: self.fill_(1.0))
    monkeypatch.setattr(f"{__name__}.RECORDS", RECORDS[:1] * 4)
    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    accumulated, whole = trainer(tmp_path, max_steps=1, **changes), trainer(tmp_path, max_steps=1)
    for training in (accumulated, whole):
        training.train()
    assert losses(accumulated) == pytest.approx(losses(whole), rel=1e-5)


def test_trl_evaluates_the_task_loss(tmp_path):
    """In evaluation there is no balance loss, and nothing that TRL asks for is missing."""
    training = trainer(tmp_path)
    same = trainer(tmp_path, balance_weight=0.0, router_aux_loss_coef=None)
    rows = training.train_dataset
    assert training.evaluate(rows)["eval_loss"] == pytest.approx(same.evaluate(rows)["eval_loss"], rel=1e-6)


def test_a_balance_loss_that_trl_leaves_out_is_said(tmp_path):
    """Without router_aux_loss_coef a warning names it."""
    with pytest.warns(UserWarning, match="router_aux_loss_coef=1.0"):
        trainer(tmp_path, max_steps=1, router_aux_loss_coef=None).train()


def experts():
    """A tiny random Mixtral for the embedded backbone's tokenizer."""
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MixtralConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(BACKBONE)), num_key_value_heads=2, num_local_experts=2, **sizes
    )
    return MixtralForCausalLM(config)


def test_on_a_base_with_experts_a_balance_loss_that_trl_leaves_out_is_said(tmp_path, monkeypatch):
    """There outputs.aux_loss is the base's own, whatever its coefficient."""
    monkeypatch.setattr(f"{__name__}.backbone", experts)
    for coefficient in (None, 1.0):
        with pytest.warns(UserWarning, match="HyCAM's balance loss is no part"):
            trainer(tmp_path, max_steps=1, router_aux_loss_coef=coefficient).train()
