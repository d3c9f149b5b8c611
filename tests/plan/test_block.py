"""What a block keeps, counted by hand on the toy: d 8, f 12, queries 8, keys 4, one micro-batch of 2 x 3."""

import pytest

from hycam_exp.config.settings import compose
from hycam_exp.plan.block import Block
from hycam_exp.plan.shape import Batch, bytes_of, shape_of
from tests.plan.architectures import TOY

N, D, F, Q, K = 6, 8, 12, 8, 4


def block(method: str, precision: str = "float32", padded: bool = True, **more: object) -> Block:
    settings = compose(f"method={method}", "method.rank=2" if method != "full_ft" else "seed=0").method
    width = bytes_of(precision, method == "full_ft")
    batch = Batch(rows=2, length=3, padded=padded)
    return Block(shape=shape_of(TOY), batch=batch, width=width, settings=settings, attention="sdpa", **more)  # type: ignore[arg-type]


NORMS = 2 * (4 * N * D + 4 * N)
MASKED = 4 * (4 * N * Q) + 4 * N * 2 + 4 * 2 * 3 * 3  # q, k, v and output; log-sum-exp of two heads; the mask
SWIGLU = 3 * 4 * N * F


def test_full_fine_tuning_keeps_every_input():
    """Norms, their normalised inputs, inputs of q k v, of gate and up, and of down; o's is the attention's output."""
    assert block("full_ft").tape().saved().total == NORMS + MASKED + SWIGLU + 4 * (2 * N * D + 2 * N * D + N * F)


def test_lora_keeps_inputs_and_codes():
    """The same inputs, codes of rank 2 for seven layers, and no normalised inputs."""
    kept = block("lora").tape().saved()
    assert kept.backbone == NORMS + MASKED + SWIGLU
    assert kept.method == 4 * (2 * N * D + N * F) + 7 * 4 * N * 2


def test_without_a_mask_keys_are_not_repeated():
    """Keys and values stay as narrow as they are, and there is no mask."""
    difference = block("lora").tape().saved().total - block("lora", padded=False).tape().saved().total
    assert difference == 2 * 4 * N * (Q - K) + 4 * 2 * 3 * 3


def test_hycam_keeps_h_norm_and_what_modulate_saves():
    """h_norm, folded N A, codes, the shared CAM, h_att, p, and the router's weights."""
    kept = block("hycam", modulated=True).tape().saved()
    router = N * (3 * 5 * 4 + 4)
    assert kept.backbone == NORMS + MASKED + SWIGLU
    assert kept.method == 4 * (N * D + 5 * 2 * D + N * 5 * 2 + N * D + N * D + N * 5) + router


def test_the_first_block_of_hycam_keeps_no_attention():
    """No gradient is wanted before the modulation."""
    kept = block("hycam", modulated=True, upstream=False).tape().saved()
    assert kept.backbone == NORMS // 2 + SWIGLU


@pytest.mark.parametrize("method", ["hycam", "hycam_shared_only"])
def test_a_block_before_all_trained_ones_keeps_nothing(method):
    """Neither modulated nor behind a modulated one."""
    assert block(method, upstream=False).tape().saved().total == 0


def test_autocast_makes_a_copy_for_every_product():
    """LoRA's seven layers keep their own narrow inputs and narrow copies of A and B."""
    kept = block("lora", "bf16_mixed").tape().saved()
    copies = 2 * 2 * sum(i + o for i, o in shape_of(TOY).linears.values())
    assert kept.method == 2 * (6 * N * D + N * F) + 7 * 2 * N * 2 + copies
    assert kept.backbone == NORMS + MASKED // 2 + 4 * N + SWIGLU // 2  # log-sum-exp stays in float32
