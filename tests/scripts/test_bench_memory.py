"""The law of the plan's memory: within 15% of measured peaks by category."""

import pytest

from scripts.bench_memory import Case, cases, compare

FAST = (
    Case(architecture="tiny_llama", method="hycam", precision="float32", checkpointing=True),
    Case(architecture="reduced_qwen2", method="lora", precision="bf16_mixed", checkpointing=True),
)
OTHERS = [case for case in cases() if case not in FAST] + [
    Case(architecture="reduced_qwen2", method=method, precision=precision, checkpointing=checkpointing, padded=padded)
    for method, precision in (
        ("hycam", "float64"),
        ("hycam_shared_only", "bf16_mixed"),
        ("hycam_full_spec", "bf16_mixed"),
        ("hycam_inverse_peft", "float32"),
        ("hycam_spec_only", "bf16_mixed"),
        ("hycam_released", "float32"),
        ("lora_matched", "float32"),
    )
    for checkpointing, padded in ((False, True), (True, False))
]


@pytest.mark.parametrize("case", FAST, ids=str)
def test_predicted_peaks_are_measured_peaks(case):
    """Weights, gradients, optimiser, all the rest, and their sum."""
    found = compare(case)
    assert found["holds"], found


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_all_predicted_peaks_are_measured_peaks(case):
    """Every method, precision, and both kinds of batches."""
    found = compare(case)
    assert found["holds"], found
