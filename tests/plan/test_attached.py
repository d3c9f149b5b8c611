"""What methods add to a layer: gradients left behind equal the closed form of trained parameters."""

import pytest

from hycam_exp.config.methods import MethodSettings
from hycam_exp.config.settings import compose
from hycam_exp.plan.attached import frozen_parameters, largest_tensor, resolved
from hycam_exp.plan.memory import Step
from hycam_exp.plan.shape import Batch, bytes_of, shape_of
from tests.plan.architectures import LLAMA2_7B, TOY

ADAPTERS = (
    "lora", "lora_matched", "multi_lora", "riemoe_lora", "hycam", "hycam_shared_only", "hycam_full_spec",
    "hycam_spec_only", "hycam_inverse_peft", "hycam_released",
)  # fmt: skip


def step(method: str, *overrides: str) -> Step:
    settings = compose(f"method={method}", "recipe.rank=2", *overrides).method
    batch = Batch(rows=2, length=3, padded=True)
    width = bytes_of("float32", method == "full_ft")
    return Step(shape=shape_of(TOY), settings=settings, width=width, batch=batch, checkpointing=False, foreach=False)


@pytest.mark.parametrize("method", ADAPTERS)
def test_every_trained_parameter_leaves_its_gradient(method):
    """The tapes' gradients are four bytes for each parameter of the closed form, as far as they are matrices."""
    found = step(method)
    assert sum(tape.trained for tape in found.tapes) == found.gradients


def test_the_released_router_is_frozen():
    """Five modules of width 8 and a bias, in two blocks."""
    found = step("hycam_released")
    assert frozen_parameters(found.settings, found.shape) == 2 * 5 * 9
    assert found.total_parameters == shape_of(TOY).dimensions.parameters + found.trained + 90


def test_the_largest_tensor():
    """Full fine-tuning: an embedding; LoRA of rank 64: a side; HyCAM: the shared CAM."""
    shape = shape_of(LLAMA2_7B)
    assert largest_tensor(compose("method=full_ft").method, shape) == 32000 * 4096
    assert largest_tensor(compose("method=lora", "recipe.rank=64").method, shape) == 64 * 11008
    assert largest_tensor(compose("method=riemoe_lora", "recipe.rank=64").method, shape) == 5 * 64 * 11008
    assert largest_tensor(compose("method=hycam", "recipe.rank=64").method, shape) == 4096 * 4096


def test_a_method_of_ones_own_is_refused_by_name():
    """And what to write for it is said; training it needs no plan."""
    with pytest.raises(ValueError, match=r"^method=mine: there is no plan of this method; hycam_exp/plan/attached\.py"):
        resolved(MethodSettings(name="mine"), shape_of(TOY))
