"""Sizes: from an architecture, from files, from a precision."""

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.plan.sizes import MicroBatch, architecture_of, bytes_of, shape_of, shape_of_model, vocabulary_size
from tests.plan.architectures import QWEN2_5_0_5B, TOY


def test_the_toys_sizes():
    """Two heads of 4 and one of keys; a block has 8 x (8 + 4 + 4) + 8 x 8 + 3 x 96 weights and two norms."""
    shape = shape_of(TOY)
    assert (shape.head, shape.queries, shape.keys) == (4, 8, 4)
    assert shape.linears["down_proj"] == (12, 8)
    assert shape.block_parameters == 8 * 16 + 64 + 288 + 16


def test_a_head_may_be_wider_than_its_share():
    """head_dim is taken where it is given."""
    assert shape_of({**TOY, "head_dim": 16}).queries == 32


def test_biases_are_in_the_block():
    """Qwen2's q, k and v have them."""
    shape = shape_of(QWEN2_5_0_5B)
    weights = sum(i * o for i, o in shape.linears.values())
    assert shape.block_parameters == weights + 2 * 896 + 896 + 2 * 128


def test_a_missing_field_is_named():
    """An architecture that says too little."""
    with pytest.raises(ValueError, match=r"model.architecture.hidden_size: missing"):
        shape_of({"model_type": "llama"})


@pytest.mark.parametrize("value", [0, -1, "8", True, 2.0])
def test_what_is_no_size_is_named(value):
    """A field's value that no backbone can have, before anything is divided by it."""
    for field in ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        with pytest.raises(ValueError, match=rf"model.architecture.{field}={value}: is no size"):
            shape_of({**TOY, field: value})


def test_a_folders_file_is_named_with_the_field(tmp_path):
    """A plan of model=local says which config.json lacks what."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match=rf"^{tmp_path}/config.json: model.architecture.hidden_size: missing"):
        shape_of_model(compose("model=local", f"model.path={tmp_path}").model)


def test_the_embedded_and_random_backbones_are_known_without_transformers():
    """config.json, and for a random one the tokenizer's size."""
    assert architecture_of(compose().model)["hidden_size"] == 128
    assert architecture_of(compose("model=tiny_qwen2").model)["vocab_size"] == 2048
    assert vocabulary_size('{"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "a"}, {"content": "b"}]}') == 2


def test_a_batch_scores_all_but_each_rows_last():
    """Three rows of five; of these the share that has a target, rounded up."""
    batch = MicroBatch(rows=3, length=5, padded=True)
    assert (batch.tokens, batch.scored) == (15, 12)
    assert MicroBatch(rows=3, length=5, padded=True, target_share=0.3).scored == 4


def test_widths_of_mixed_precision():
    """A frozen backbone lies in two bytes; a trained one in four, and its stream, too."""
    frozen, trained = bytes_of("bf16_mixed", False), bytes_of("bf16_mixed", True)
    assert (frozen.frozen, frozen.trained, frozen.stream, frozen.compute) == (2, 4, 2, 2)
    assert (trained.frozen, trained.trained, trained.stream, trained.compute) == (4, 4, 4, 2)
    assert frozen.mixed
    assert not bytes_of("float32", True).mixed
