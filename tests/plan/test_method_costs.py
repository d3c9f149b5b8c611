"""What methods add to a layer: gradients left behind equal the closed form of trained parameters."""

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.methods import METHODS, LoRASettings, MethodSettings
from hycam_exp.plan.memory import TrainingStep
from hycam_exp.plan.method_costs import COSTS, costs_of
from hycam_exp.plan.sizes import MicroBatch, bytes_of, shape_of
from tests.plan.architectures import LLAMA2_7B, TOY

ADAPTERS = (
    "lora", "lora_matched", "multi_lora", "riemoe_lora", "hycam", "hycam_shared_only", "hycam_full_spec",
    "hycam_spec_only", "hycam_inverse_peft", "hycam_released",
)  # fmt: skip


def step(method: str, *overrides: str) -> TrainingStep:
    settings = compose(f"method={method}", "recipe.rank=2", *overrides).method
    batch = MicroBatch(rows=2, length=3, padded=True)
    width = bytes_of("float32", method == "full_ft")
    return TrainingStep(
        shape=shape_of(TOY), settings=settings, width=width, batch=batch, checkpointing=False, foreach=False
    )


@pytest.mark.parametrize("method", ADAPTERS)
def test_every_trained_parameter_leaves_its_gradient(method):
    """The tapes' gradients are four bytes for each parameter of the closed form, as far as they are matrices."""
    budget = (
        ["method.match=464"] if method == "lora_matched" else []
    )  # HyCAM's is 22% from any rank of so small a model
    found = step(method, *budget)
    assert sum(tape.trained for tape in found.tapes) == found.gradients


def test_the_released_router_is_frozen():
    """Five modules of width 8 and a bias, in two blocks."""
    found = step("hycam_released")
    assert found.costs.frozen_parameters == 2 * 5 * 9
    assert found.total_parameters == shape_of(TOY).dimensions.parameters + found.trained + 90


def test_the_largest_tensor():
    """Full fine-tuning: an embedding; LoRA of rank 64: a side; HyCAM: the shared CAM."""
    sizes = {
        "full_ft": 32000 * 4096, "lora": 64 * 11008, "lora_matched": 249 * 11008, "multi_lora": 5 * 64 * 11008,
        "riemoe_lora": 5 * 64 * 11008, "hycam": 4096 * 4096, "hycam_spec_only": 5 * 64 * 4096,
    }  # fmt: skip
    for method, size in sizes.items():
        settings = compose(f"method={method}", "recipe.rank=64").method
        assert costs_of(settings, shape_of(LLAMA2_7B)).largest_tensor == size, method


def test_a_method_of_ones_own_is_refused_by_name():
    """And what to write for it is said; training it needs no plan."""
    said = r"^method=mine: there is no plan of this method; hycam_exp/plan/method_costs\.py"
    with pytest.raises(ValueError, match=said):
        costs_of(MethodSettings(name="mine"), shape_of(TOY))


def test_every_method_of_the_table_has_its_costs_or_is_refused():
    """The field's methods and PEFT's types have no hand-made law, and a plan of them is refused by name; all others
    have one, that of LoRA where a rank is matched."""
    without = {name for name, method in METHODS.items() if method.settings not in COSTS} - {"lora_matched"}
    field = {name for name, method in METHODS.items() if method.settings.__module__.endswith("multi_task")}
    assert without == field | {"peft"}
    assert set(COSTS) <= {method.settings for method in METHODS.values()}
    assert isinstance(costs_of(compose("method=lora_matched").method, shape_of(TOY)), COSTS[LoRASettings])
    for name in (*field, "dora"):
        with pytest.raises(ValueError, match=f"method={name}: there is no plan of this method"):
            costs_of(compose(f"method={name}").method, shape_of(TOY))
