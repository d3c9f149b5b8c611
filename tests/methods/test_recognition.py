import pytest
import torch
from peft import get_peft_model
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from hycam_exp.config.compose import compose
from hycam_exp.methods import attach
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.methods.recognition import attention_modules, dimensions, layer_norms, num_blocks, vectors
from hycam_exp.training.fit import FineTuning
from tests.methods.conftest import tiny


def without_attention():
    with torch.device("meta"):
        return MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=3, state_size=4))


def of_another_family():
    with torch.device("meta"):
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
        return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=32, **sizes))


def test_names_come_from_the_model():
    """A family that nothing here knows by name gives its attention and norms by their classes."""
    model = of_another_family()
    assert attention_modules(model) == {"attention"}
    assert layer_norms(model) == {"input_layernorm", "post_attention_layernorm"}


def test_blocks_are_counted_without_attention():
    """A model without attention has its blocks and sizes, so that LoRA's parameters can still be told."""
    model = without_attention()
    assert num_blocks(model) == 3
    assert dimensions(model).num_blocks == 3


def test_a_model_without_attention_is_refused_by_name():
    """What HyCAM would wrap is not there, and the error says how to name it."""
    with pytest.raises(ValueError, match="MambaForCausalLM: no attention module recognised; name it with target_modul"):
        attention_modules(without_attention())


def test_a_model_without_blocks_is_refused_by_name():
    """No number in any module's name: no blocks."""
    with pytest.raises(ValueError, match="Linear: its modules stand in no numbered block"):
        num_blocks(torch.nn.Linear(2, 2))


def bert():
    return BertLMHeadModel(
        BertConfig(
            vocab_size=16, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
            is_decoder=True,
        )
    )  # fmt: skip


def bloom():
    return BloomForCausalLM(BloomConfig(vocab_size=16, hidden_size=8, n_layer=2, n_head=2))


def falcon():
    return FalconForCausalLM(
        FalconConfig(vocab_size=16, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, parallel_attn=False)
    )


@pytest.mark.parametrize(("model", "name"), [(bloom, "BloomAttention"), (bert, "BertAttention")])
def test_attention_that_adds_the_residual_stream_is_refused(model, name):
    """HyCAM would scale the stream as well, which the paper's equations do not."""
    with pytest.raises(ValueError, match=rf"{name} adds the residual stream to what it gives out"):
        get_peft_model(model(), HyCAMConfig(task_type="CAUSAL_LM", r=2))


def test_attention_whose_block_adds_its_output_is_taken():
    """Falcon's block adds the stream itself, though it has a parameter of that name for its function that does so."""
    assert get_peft_model(falcon(), HyCAMConfig(task_type="CAUSAL_LM", r=2)).get_nb_trainable_parameters()[0]


def trained_vectors(model) -> set[str]:
    """The last words of the names of trained vectors, without the adapter's."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    return {name.removesuffix(".default").rsplit(".", 1)[-1] for name in vectors(model) & trained}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("hycam", set()),
        ("lora", set()),
        ("riemoe_lora", set()),
        ("multi_lora", {"multilora_s"}),
        ("hycam_inverse_peft", set()),
        (
            "hycam_released",
            {"hycam_shared_bias", "hycam_bias", "hycam_a_bias", "hycam_n_bias", "hycam_norm_weight"},
        ),
    ],
)
def test_a_stack_of_vectors_is_told_from_a_matrix(method, expected):
    """Biases and scales of all modules of a layer, in one tensor of two dimensions, are vectors; A, N, B are not."""
    assert trained_vectors(attach(tiny("llama"), compose(f"method={method}").method)) == expected


def test_a_backbones_biases_and_norms_are_vectors():
    """Those of Qwen2's projections among them; embeddings and projections are not."""
    model = tiny("qwen2")
    expected = {name for name, _ in model.named_parameters() if name.endswith("bias") or "norm" in name}
    assert len(expected) == 2 * 5 + 1
    assert vectors(model) == expected


def test_stacked_biases_and_wide_norms_of_a_backbone_are_vectors():
    """A bias of every expert, and a norm with weights of its own for every head, have two dimensions."""

    class ExpertNorm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2, 3))

    model = torch.nn.Module()
    model.norm, model.gate_up_proj = ExpertNorm(), torch.nn.Parameter(torch.ones(2, 3))
    model.gate_up_proj_bias = torch.nn.Parameter(torch.ones(2, 3))
    assert vectors(model) == {"norm.weight", "gate_up_proj_bias"}


@pytest.mark.parametrize("method", ["hycam_released", "multi_lora"])
def test_weight_decay_spares_stacked_biases_and_scales(method):
    """AdamW shrinks matrices alone: a stack of vectors, one of each module, is a tensor of two dimensions as well."""
    run = compose(f"method={method}", "recipe.weight_decay=0.5")
    model = attach(tiny("llama"), run.method)
    optimizer = FineTuning(model, run.recipe, num_steps=1, accumulation=1, seed=0).configure_optimizers()["optimizer"]
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    words = {name.split(".")[-2] for name, p in model.named_parameters() if p.requires_grad and id(p) in decayed}
    matrices = (
        {"hycam_shared", "hycam_a", "hycam_n", "hycam_b"}
        if method == "hycam_released"
        else {"multilora_a", "multilora_b"}
    )
    assert words == matrices
