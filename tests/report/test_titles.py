"""What backbones, methods and tasks are called."""

import pytest

from data_prep import mini
from hycam_exp.report import titles


def test_a_generated_task_has_a_title_of_its_own() -> None:
    """The mini set's tasks are called by no data set's name; tasks of one's own by the names that they have."""
    assert tuple(titles.MINI_TASKS) == mini.TASKS
    assert not any(title in mine for title in titles.TASKS.values() for mine in titles.MINI_TASKS.values())
    assert (titles.task("dolly"), titles.task("mini_code"), titles.task("mine")) == ("Dolly 2.0", "Mini code", "mine")


def test_weights_that_were_dequantised_are_said() -> None:
    """With their bits, behind the backbone's title; of the others nothing."""
    assert titles.weights("GGUF Q4_1, dequantised") == " (4-bit weights, dequantised)"
    assert [titles.weights(origin) for origin in ("HuggingFaceTB/SmolLM2-135M-Instruct@abc", "embedded", "")] == [
        ""
    ] * 3


def test_a_rows_label_has_its_methods_title() -> None:
    """And what sets the variant apart as it is."""
    assert titles.label("riemoe_lora (recipe.clip=null)") == "RieMoE-LoRA (recipe.clip=null)"
    assert titles.label("hycam") == "HyCAM"


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (-0.0001, ".3f", "0.000"), (-0.0001, "+.3f", "+0.000"), (-0.0004, "+.1%", "+0.0%"), (-0.5, ".3f", "-0.500"),
        (0.0, "+.2f", "+0.00"), (-1234.5, ",.0f", "-1,234"), (-0.4, ",.0f", "0"), (None, ".3f", "-"),
    ],
)  # fmt: skip
def test_nothing_has_no_sign(value: float | None, form: str, shown: str) -> None:
    """What rounds to nought is not negative; what is absent is a dash."""
    assert titles.number(value, form) == shown


def test_a_small_probability_is_not_nought() -> None:
    """Below 0.0001 it is said to be."""
    assert [titles.p_value(p) for p in (0.00001, 0.0001, 0.04567, 1.0, None)] == [
        "<0.0001", "0.0001", "0.0457", "1.0000", "-",
    ]  # fmt: skip
