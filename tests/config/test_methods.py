"""The closed forms of what methods train, against numbers of real backbones."""

import re
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace

import pytest

from hycam_exp.config.compose import compose, config_dir
from hycam_exp.config.dimensions import Dimensions, dimensions_of
from hycam_exp.config.methods import METHODS, LoRAMatchedSettings, method_named, method_of
from hycam_exp.config.settings import refusal

D, HIDDEN, BLOCKS = 4096, 11008, 32
LLAMA2_7B = Dimensions(
    width=D,
    num_blocks=BLOCKS,
    linears=((D, D), (D, D), (D, D), (D, D), (D, HIDDEN), (D, HIDDEN), (HIDDEN, D)) * BLOCKS,
    mlp_linears=((D, HIDDEN), (D, HIDDEN), (HIDDEN, D)) * BLOCKS,
    norms=(2 * D,) * BLOCKS,
    parameters=6_738_415_616,
)

TWO_BLOCKS = replace(
    LLAMA2_7B, num_blocks=2, linears=LLAMA2_7B.linears[:14], mlp_linears=LLAMA2_7B.mlp_linears[:6], norms=(2 * D,) * 2
)


@pytest.mark.parametrize(
    ("method", "expected"), [("hycam", 622_067_712), ("lora", 159_907_840), ("full_ft", 6_738_415_616)]
)
def test_parameters_of_the_papers_recipe_on_llama2_7b(method: str, expected: int) -> None:
    """At rank 64 HyCAM trains 622.1 million parameters of Llama2-7B, LoRA 159.9 million."""
    assert compose(f"method={method}", "recipe=paper").method.num_parameters(LLAMA2_7B) == expected


def test_matched_lora_is_the_closest_rank() -> None:
    """No other rank of LoRA on Llama2-7B is nearer to HyCAM's budget, and alpha is that rank."""
    matched = compose("method=lora_matched", "recipe=paper").method
    lora = matched.on(LLAMA2_7B)
    assert matched.match.num_parameters(LLAMA2_7B) == 622_067_712
    assert matched.num_parameters(LLAMA2_7B) == lora.num_parameters(LLAMA2_7B)

    def distance(rank: int) -> int:
        lora = compose("method=lora", f"method.rank={rank}").method
        return abs(lora.num_parameters(LLAMA2_7B) - 622_067_712)

    assert distance(lora.rank) == min(distance(lora.rank + step) for step in (-1, 0, 1))
    assert lora.rank == lora.alpha == 249


@pytest.mark.parametrize("match", ["lora", "hycam", 165_504])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("full_ft", "peft")])
def test_every_method_with_a_closed_form_is_matched_by_its_rank_or_says_that_it_cannot_be(
    method: str, match: str | int
) -> None:
    """The chosen rank is the closest of all that the method allows, or the refusal names how close it comes; nothing
    else changes but alpha, which keeps its ratio to the rank."""
    settings = compose(f"method={method}", f"method.match={match}").method
    budget = match if isinstance(match, int) else compose(f"method={match}").method.num_parameters(TWO_BLOCKS)
    if settings.match is None:
        assert method == match
        return
    allowed = {}
    for rank in range(1, 800):
        with suppress(ValueError):
            allowed[rank] = settings.resized(rank).num_parameters(TWO_BLOCKS)
    best = min(allowed, key=lambda rank: (abs(allowed[rank] - budget), rank))
    if abs(allowed[best] - budget) > budget / 10:
        with pytest.raises(ValueError, match=rf"^method\.match={match}: method={method} cannot train .*rank={best}$"):
            settings.on(TWO_BLOCKS)
        return
    fitted = settings.on(TWO_BLOCKS)
    assert fitted.rank == best
    assert getattr(fitted, "alpha", best) == best
    if not isinstance(settings, LoRAMatchedSettings):
        free = dict.fromkeys(("rank", "alpha", "match"))
        assert {**asdict(fitted), **free} == {**asdict(settings), **free}


def test_alpha_keeps_its_ratio_to_a_chosen_rank() -> None:
    """At twice the rank the update is scaled as before."""
    settings = compose("method=hydralora", "method.rank=8", "method.alpha=20", "method.match=1").method
    assert (settings.resized(16).rank, settings.resized(16).alpha) == (16, 40)


def test_what_has_no_size_cannot_be_matched() -> None:
    """Full fine-tuning trains the backbone, whatever the budget."""
    settings = compose("method=full_ft", "method.match=hycam").method
    with pytest.raises(ValueError, match=r"^method\.match=hycam: method=full_ft .*: it has no size to choose$"):
        settings.on(LLAMA2_7B)


def test_matched_lora_is_within_the_tolerance_on_every_backbone_of_conf() -> None:
    """The refusal of a budget that is missed by a tenth never meets lora_matched where its sizes are known."""
    for path in sorted((config_dir() / "model").glob("*.yaml")):
        architecture = compose(f"model={path.stem}", "model.path=x").model.architecture
        if "vocab_size" in (architecture or {}):
            compose("method=lora_matched", "recipe=paper").method.on(dimensions_of(architecture))


def test_a_type_of_pefts_shares_an_entry_and_adds_what_is_its_own() -> None:
    """Any name but that of a method is one of PEFT's types; AdaLoRA is refused where gradients are no rank's own."""
    assert method_named("dora") is method_named("of_mine") is METHODS["peft"]
    assert method_of(compose("method=lora").method) is METHODS["lora"]
    dora, adalora = (compose(f"method={name}").method for name in ("dora", "adalora"))
    assert refusal(dora, "zero2") is None
    assert "no whole gradient" in (refusal(adalora, "zero2") or "")
    for strategy in ("fsdp", "zero3"):
        assert refusal(dora, strategy)
        assert refusal(adalora, strategy)


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
