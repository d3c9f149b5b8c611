"""What is kept for the backward pass: on a toy tape, and in a block counted by hand on the toy backbone."""

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.plan.method_costs import costs_of
from hycam_exp.plan.saved_tensors import Block, Kept, Op, Tape, Tensor, worst
from hycam_exp.plan.sizes import MicroBatch, bytes_of, shape_of
from tests.plan.architectures import TOY

X, Y = Tensor("x", 10), Tensor("y", 3, method=True)
TAPE = Tape([Op(name="a", saves=[X], working=1, trained=5), Op(name="b", saves=[X, Y], working=2, passing=7)])


def test_a_tensor_saved_twice_is_kept_once():
    """Equal names are the same memory; what the method keeps is told apart."""
    assert TAPE.saved() == Kept(backbone=10, method=3)
    assert TAPE.saved().total == 13


def test_the_backward_pass_frees_in_reverse():
    """b is first and frees y; x stays for a; a's gradient comes after it."""
    moments = list(TAPE.backward())
    assert [(m.name, m.kept.total, m.gradients, m.working) for m in moments] == [("b", 13, 0, 2), ("a", 10, 0, 1)]
    assert TAPE.trained == 5


def test_the_worst_moment_is_the_largest():
    """Forward it is b with what passes; of nothing it is nothing."""
    assert worst(TAPE.forward()).total == 20
    assert worst(Tape().backward()).total == 0


def test_gradients_left_behind_are_counted():
    """Operations further on have left theirs."""
    tape = Tape([Op(name="a"), Op(name="b", trained=4)])
    assert [m.gradients for m in tape.backward()] == [0, 4]


N, D, F, Q, K = 6, 8, 12, 8, 4


def block(method: str, precision: str = "float32", padded: bool = True, **more: object) -> Block:
    settings = compose(f"method={method}", "method.rank=2" if method != "full_ft" else "seed=0").method
    width = bytes_of(precision, method == "full_ft")
    batch = MicroBatch(rows=2, length=3, padded=padded)
    return Block(
        shape=shape_of(TOY), batch=batch, width=width, costs=costs_of(settings, shape_of(TOY)), attention="sdpa", **more
    )  # type: ignore[arg-type]


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
