"""The closed forms of what methods train, against numbers of real backbones."""

import pytest

from hycam_exp.config import compose
from hycam_exp.dimensions import Dimensions

D, HIDDEN, BLOCKS = 4096, 11008, 32
LLAMA2_7B = Dimensions(
    width=D,
    num_blocks=BLOCKS,
    linears=((D, D), (D, D), (D, D), (D, D), (D, HIDDEN), (D, HIDDEN), (HIDDEN, D)) * BLOCKS,
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
