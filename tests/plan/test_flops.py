"""Work counted by hand."""

import pytest

from hycam_exp.config.settings import compose
from hycam_exp.plan.flops import work
from hycam_exp.plan.shape import Batch, shape_of
from tests.plan.architectures import LLAMA2_7B, TOY

BATCH = Batch(rows=2, length=3, padded=True)
LINEAR = 2 * 2 * 6 * (8 * 16 + 64 + 288)  # two blocks, six tokens
HEAD = 2 * 6 * 10 * 8
SQUARE = 2 * 2 * 6 * 3 * 8  # two blocks, one product of queries and keys


def test_full_fine_tuning():
    """Forward once, backward twice, attention 2 and 5 products."""
    found = work(shape_of(TOY), compose("method=full_ft").method, BATCH, False)
    assert found.forward == LINEAR + HEAD + 2 * SQUARE
    assert found.backward == 2 * (LINEAR + HEAD) + 5 * SQUARE
    assert found.recomputed == 0


def test_lora_needs_no_gradient_of_frozen_weights():
    """One product backward for each frozen weight, two for each of LoRA's; checkpointing computes blocks again."""
    found = work(shape_of(TOY), compose("method=lora", "recipe.rank=2").method, BATCH, True)
    lora = 2 * 2 * 6 * 2 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 12))
    assert found.forward == LINEAR + HEAD + 2 * SQUARE + lora
    assert found.backward == LINEAR + HEAD + 5 * SQUARE + 2 * lora
    assert found.recomputed == LINEAR + 2 * SQUARE + lora


def test_hycam_computes_b_again():
    """Shared 64, codes 5 x 2 x 8, router 5 x 8 a token, and B 5 x 2 x 8 once more backward; N folded once."""
    found = work(shape_of(TOY), compose("method=hycam", "recipe.rank=2").method, BATCH, True)
    once, up = 6 * (64 + 80 + 40) + 5 * 2 * 2 * 8, 6 * 80
    assert found.forward == LINEAR + HEAD + 2 * SQUARE + 2 * 2 * (once + up)
    assert found.backward == LINEAR + HEAD + 5 * SQUARE + 2 * 2 * (2 * once + 3 * up)


def test_six_operations_a_weight_and_token():
    """The rule of thumb, for a short text: within 2% for all weights but the input embedding."""
    batch = Batch(rows=1, length=64, padded=False)
    found = work(shape_of(LLAMA2_7B), compose("method=full_ft").method, batch, False)
    assert found.total == pytest.approx(6 * (6_738_415_616 - 32000 * 4096) * 64, rel=0.02)
