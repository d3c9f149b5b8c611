"""The closed forms of what methods train, against numbers of real backbones."""

import re
from contextlib import nullcontext

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.dimensions import Dimensions
from hycam_exp.config.methods import METHODS

D, HIDDEN, BLOCKS = 4096, 11008, 32
LLAMA2_7B = Dimensions(
    width=D,
    num_blocks=BLOCKS,
    linears=((D, D), (D, D), (D, D), (D, D), (D, HIDDEN), (D, HIDDEN), (HIDDEN, D)) * BLOCKS,
    mlp_linears=((D, HIDDEN), (D, HIDDEN), (HIDDEN, D)) * BLOCKS,
    norms=(2 * D,) * BLOCKS,
    parameters=6_738_415_616,
)


@pytest.mark.parametrize(
    ("method", "expected"), [("hycam", 622_067_712), ("lora", 159_907_840), ("full_ft", 6_738_415_616)]
)
def test_parameters_of_the_papers_recipe_on_llama2_7b(method: str, expected: int) -> None:
    """At rank 64 HyCAM trains 622.1 million parameters of Llama2-7B, LoRA 159.9 million."""
    assert compose(f"method={method}", "recipe=paper").method.num_parameters(LLAMA2_7B) == expected


def test_matched_lora_is_the_closest_rank() -> None:
    """No other rank of LoRA on Llama2-7B is nearer to HyCAM's budget, and both numbers are told."""
    matched = compose("method=lora_matched", "recipe=paper").method
    facts = matched.facts(lambda: LLAMA2_7B)
    assert facts["parameters_matched"] == 622_067_712

    def distance(rank: int) -> int:
        lora = compose("method=lora", f"method.rank={rank}").method
        return abs(lora.num_parameters(LLAMA2_7B) - 622_067_712)

    assert distance(facts["rank"]) == min(distance(facts["rank"] + step) for step in (-1, 0, 1))
    assert facts["rank"] == 249


@pytest.mark.parametrize("layers", ["[]", "[0, 0]", "[1, 0, 1]"])
def test_modulated_blocks_are_named_each_once(layers: str) -> None:
    """An empty list modulates nothing, and a repeated block would be counted twice: both are refused by name."""
    law = "must name blocks, each once; null: all"
    with pytest.raises(ValueError, match=re.escape(f"method.layers={layers}: {law}")):
        compose("method=hycam", f"method.layers={layers}")


def test_a_list_of_all_blocks_is_all_of_them() -> None:
    """Named or not, a backbone's blocks train as many parameters."""
    every = ",".join(map(str, range(BLOCKS)))
    named, all_ = (compose("method=hycam", f"method.layers={layers}").method for layers in (f"[{every}]", "null"))
    assert named.num_parameters(LLAMA2_7B) == all_.num_parameters(LLAMA2_7B)


def test_no_two_methods_are_called_alike() -> None:
    """A title, and a name in the paper's ablations, tells which method it is; a published one has its paper's title."""
    titles = [method.title for method in METHODS.values()]
    ablations = [method.ablation for method in METHODS.values() if method.ablation is not None]
    assert len(set(titles)) == len(titles) == len(METHODS)
    assert len(set(ablations)) == len(ablations) == 5
    published = {name: method.title for name, method in METHODS.items() if method.published}
    assert published == {
        "full_ft": "Full Finetune", "lora": "LoRA", "multi_lora": "Multi LoRA", "riemoe_lora": "RieMoE-LoRA",
        "hycam": "HyCAM",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("full_ft", "four bits cannot be trained, and method=full_ft trains them"),
        ("multi_lora", "method=multi_lora wraps floating-point linear layers only"),
        ("riemoe_lora", "method=riemoe_lora wraps floating-point linear layers only"),
        ("lora", None),
        ("hycam", None),
    ],
)
def test_a_packed_backbone_is_refused_by_what_the_table_says_of_the_method(method: str, why: str | None) -> None:
    """PEFT's LoRA and HyCAM take linear layers of four bits, Multi-LoRA and RieMoE-LoRA read their weights."""
    with pytest.raises(ValueError, match=re.escape(f"model.quantize=nf4: {why}")) if why else nullcontext():
        compose(f"method={method}", "model.quantize=nf4")
