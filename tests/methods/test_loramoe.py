"""LoRAMoE's constraint: its value, that it masks padding, is added once, and is trained."""

import pytest
import torch
from peft import get_peft_model
from torch.nn import functional as F

from hycam_exp.methods import auxiliary_loss, task_rows
from hycam_exp.methods.loramoe import LoRAMoEConfig
from tests.methods.conftest import perturb, tiny, tokens

TASKS = ["facts", "code", "maths"]


def adapted(**changes):
    torch.manual_seed(0)
    fields = {"r": 4, "lora_alpha": 8, "num_experts": 4, "balance_weight": 0.5, "balance_delta": 0.2}
    config = LoRAMoEConfig(
        **{**fields, "tasks": TASKS, "knowledge_tasks": ["facts"], "task_type": "CAUSAL_LM"} | changes
    )
    model = get_peft_model(tiny("llama"), config)
    perturb(model)
    return model.train()


def loss(model, **inputs):
    with task_rows(model, ["facts", "maths"]):
        model(**{"input_ids": tokens(), "use_cache": False, **inputs})
    return auxiliary_loss(model)


@pytest.mark.parametrize("squared", [True, False])
def test_the_constraint_is_the_papers_or_its_codes(squared):
    """beta times the sum over layers of var(I Q) / mean(I Q)^2, or over the mean; I = 1 + delta where kinds agree."""
    model, seen = adapted(balance_squared_mean=squared), []
    for module in model.modules():
        if hasattr(module, "routing_listener"):
            module.routing_listener = seen.append
    expected = 0.0
    found = loss(model)
    factor = torch.tensor([[1.2, 1.2, 0.8, 0.8], [0.8, 0.8, 1.2, 1.2]], dtype=torch.float64)
    for g in seen:
        z = factor * g.sum(1)
        expected += 0.5 * z.var() / (z.mean() ** 2 if squared else z.mean())
    assert len(seen) == 6
    torch.testing.assert_close(found, expected)


def test_padding_does_not_count_unless_asked_for():
    """Rows behind padding have the constraint of the rows alone; counted as in the authors' code, another."""
    mask = F.pad(torch.ones_like(tokens()), (0, 4))
    padded = {"input_ids": F.pad(tokens(), (0, 4)), "attention_mask": mask}
    torch.testing.assert_close(loss(adapted(), **padded), loss(adapted()))
    counted = adapted(balance_masks_padding=False)
    assert not torch.allclose(loss(counted, **padded), loss(adapted()))


def test_it_is_added_once_to_the_models_own_loss_in_training_alone():
    """With labels the outputs' loss has it once, checkpointing or not; evaluation has none."""
    from hycam_exp.training.fit import checkpoint_activations

    gradients = []
    for recompute in (False, True):
        model = adapted()
        if recompute:
            checkpoint_activations(model)
        with task_rows(model, ["facts", "maths"]):
            total = model(tokens(), labels=tokens(), use_cache=False).loss
        auxiliary = auxiliary_loss(model)
        total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
        with task_rows(model.eval(), ["facts", "maths"]):
            alone = model(tokens(), labels=tokens(), use_cache=False).loss
        torch.testing.assert_close(total, alone + auxiliary)
        assert auxiliary_loss(model) is None
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_without_a_gradient_it_is_refused():
    """Re-entrant checkpointing runs the first forward without a graph: the error names the way out."""
    model = adapted()
    with torch.no_grad():
        loss_of = loss(model)
    assert loss_of is not None
    with pytest.raises(ValueError, match="use_reentrant"):
        auxiliary_loss(model)
