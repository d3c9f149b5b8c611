"""A step's peak: the paper's parameters, strategies, the moments, and how a trainer cuts a step."""

from dataclasses import asdict, replace

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.data.batches import Schedule
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.memory import MemoryParts, TrainingStep, fits, step_of
from hycam_exp.plan.sizes import MicroBatch, bytes_of, shape_of
from tests.plan.architectures import LLAMA2_7B, QWEN2_5_0_5B


def step(method: str, architecture: dict[str, object] = LLAMA2_7B, checkpointing: bool = True) -> TrainingStep:
    return TrainingStep(
        shape=shape_of(architecture),
        settings=compose(f"method={method}", "recipe.rank=64").method,
        width=bytes_of("bf16_mixed", method == "full_ft"),
        batch=MicroBatch(rows=4, length=1200, padded=True),
        checkpointing=checkpointing,
        accumulation=4,
        foreach=True,
    )


def test_llama2_7b_with_hycam():
    """622,067,712 trained parameters (32 x (d^2 + 5 (2 d r + r^2 + d))), in four bytes with their gradient, in eight
    with AdamW's states, over a backbone in two."""
    found = step("hycam")
    assert found.trained == 622_067_712
    assert found.total_parameters == 6_738_415_616 + 622_067_712
    assert found.weights == 2 * 6_738_415_616 + 4 * 622_067_712
    assert (found.gradients, found.optimiser) == (4 * 622_067_712, 8 * 622_067_712)


def test_full_fine_tuning_needs_sixteen_bytes_a_parameter():
    """Weight, gradient and two moments in float32, and torch's copy in the update."""
    peak = step("full_ft").peak()
    assert peak.weights + peak.gradients + peak.optimiser == 16 * 6_738_415_616
    assert peak.moment == "optimiser"


@pytest.mark.parametrize("method", ["full_ft", "lora", "multi_lora", "riemoe_lora", "hycam"])
def test_checkpointing_saves_activations(method):
    """At no cell does it need more, and the activations are less."""
    with_it, without = step(method).peak(), step(method, checkpointing=False).peak()
    assert with_it.total < without.total
    assert with_it.activations + with_it.method < without.activations + without.method


def test_the_loss_holds_the_logits_their_gradient_and_a_chunk():
    """In bfloat16, of all positions but each row's last; what is computed in float32, of 4 million logits at once, or
    of those there are."""
    found = step("hycam", QWEN2_5_0_5B)
    moments = {parts.moment: parts for parts in found.moments()}
    assert moments["gradient of the logits"].logits == 2 * 2 * 4796 * 151936 + 6 * 2**22
    assert moments["end of the forward pass"].logits == 2 * 4796 * 151936 + 4 * 2**22
    few = replace(found, batch=replace(found.batch, rows=1, length=11), foreach=False)
    moments = {parts.moment: parts for parts in few.moments()}
    assert moments["gradient of the logits"].logits == 2 * 2 * 10 * 151936 + 6 * 10 * 151936
    assert moments["end of the forward pass"].logits == 2 * 10 * 151936 + 8 * 10 * 151936  # on a CPU in float64


def test_checkpointing_keeps_every_blocks_input():
    """32 inputs of 4,800 x 4,096 in bfloat16 at the end of the forward pass, and the final norm's."""
    moments = {parts.moment: parts for parts in step("lora").moments()}
    inputs = 32 * 2 * 4800 * 4096
    assert moments["end of the forward pass"].activations - inputs < 1.1 * 4 * 4800 * 4096


def test_accumulated_gradients_are_there_throughout():
    """A single micro-batch has none when the logits' gradient is computed."""
    kept = {parts.moment: parts.gradients for parts in step("lora").moments()}
    once = {parts.moment: parts.gradients for parts in replace(step("lora"), accumulation=1).moments()}
    assert kept["gradient of the logits"] == step("lora").gradients
    assert once["gradient of the logits"] == 0
    assert kept["end of the forward pass"] == once["end of the forward pass"] == step("lora").gradients


def first(strategy: str, devices: int = 4, offload: bool = False, method: str = "full_ft") -> MemoryParts:
    """The first moment under a strategy."""
    return next(iter(replace(step(method), strategy=strategy, devices=devices, offload=offload).moments()))


def test_strategies_split_what_they_say():
    """ZeRO 1 the optimiser, 2 the gradients as well, 3 and FSDP the weights, too; DDP adds its buckets."""
    plain = step("full_ft")
    found = {s: first(s) for s in ("zero1", "zero2", "zero3", "fsdp", "ddp")}
    assert [found[s].optimiser * 4 for s in ("zero1", "zero2", "zero3")] == [12 * plain.trained] * 3
    assert found["fsdp"].optimiser * 4 == plain.optimiser == 8 * plain.trained
    assert (found["zero1"].gradients, found["zero2"].gradients * 4) == (plain.gradients, plain.gradients)
    assert (found["zero2"].weights, found["zero3"].weights * 4) == (plain.weights, plain.weights)
    assert found["ddp"].buffers == plain.gradients
    assert all(found[s].host == 0 for s in found)


def test_whole_weights_are_counted_where_they_are_split():
    """FSDP: two blocks, the root, and twice the embeddings' gradients; ZeRO 3: a thousand million weights."""
    plain = step("full_ft")
    root = 2 * 32000 * 4096 + 4096
    assert first("fsdp").buffers == 4 * (2 * plain.shape.block_parameters + root) + 2 * 4 * (root - 4096)
    assert first("zero3").buffers == 4 * 10**9 + 4 * 20 * 10**6
    assert first("zero2").buffers == 2 * 4 * 20 * 10**6


def test_no_more_is_gathered_than_there_is():
    """A backbone of 500 million weights is whole on every device."""
    small = replace(step("lora", QWEN2_5_0_5B), strategy="zero3", devices=4)
    assert next(iter(small.moments())).buffers == small.weights + 4 * 20 * 10**6


def test_offload_leaves_the_device_what_is_whole():
    """ZeRO 1 keeps all gradients, 2 none, 3 not even weights; each device's share lies on its host, 16 bytes for each
    trained parameter, and its weight."""
    plain = step("full_ft")
    found = [first(s, offload=True) for s in ("zero1", "zero2", "zero3")]
    assert [parts.optimiser for parts in found] == [0, 0, 0]
    assert [parts.gradients for parts in found] == [plain.gradients, 0, 0]
    assert [parts.weights for parts in found] == [plain.weights, plain.weights, 0]
    assert [parts.host for parts in found] == [5 * plain.trained] * 3


@pytest.mark.parametrize("strategy", ["fsdp", "zero1", "zero2", "zero3"])
def test_more_devices_need_less_of_each(strategy):
    """The peak falls with the number of devices, and its parts add up to it."""
    peaks = [replace(step("full_ft"), strategy=strategy, devices=n).peak() for n in (1, 2, 8, 64)]
    assert sorted((p.total for p in peaks), reverse=True) == [p.total for p in peaks]
    parts = {k: v for k, v in asdict(peaks[1]).items() if k not in ("moment", "host")}
    assert sum(parts.values()) == peaks[1].total


def test_only_blocks_from_the_first_modulated_one_keep_anything():
    """Blocks 1 and 2 of 32 modulated: block 0 keeps nothing; under checkpointing every block's input is kept."""
    settings = compose("method=hycam", "method.layers=[1,2]", "recipe.rank=64").method
    tapes = replace(step("hycam", checkpointing=False), settings=settings).tapes
    assert tapes[0].saved().total == 0
    assert tapes[3].saved().method == 0
    assert tapes[3].saved().total > 0
    assert replace(step("hycam"), settings=settings).tapes[0].saved().total > 0


def test_four_bits_of_llama2_7b():
    """By hand: 32 blocks of 4 x 4096^2 + 3 x 4096 x 11008 weights in half a byte and a 16th of one for scales; two
    embeddings of 32,000 x 4,096 and 65 norms stay in two bytes; the adapter in four."""
    found = replace(step("lora"), quantized=True)
    linears = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert found.weights == linears * 9 // 16 + 2 * (2 * 32000 * 4096 + 65 * 4096) + 4 * 159_907_840
    assert found.weights / step("lora").weights < 0.35
    assert found.read == found.weights + 2 * 2 * linears


def test_a_packed_layer_is_unpacked_to_be_computed_with():
    """Forward and backward need one whole weight in bfloat16 more; what is kept stays the same."""
    for plain in (step("lora"), step("hycam")):
        tapes = plain.tapes[3], replace(plain, quantized=True).tapes[3]
        assert tapes[0].saved() == tapes[1].saved()
        for one, other in zip(tapes[0].ops, tapes[1].ops, strict=True):
            weight = plain.shape.linears.get(one.name, (0, 0))
            unpacked = 2 * weight[0] * weight[1]
            assert (other.passing - one.passing, other.working - one.working) == (unpacked, unpacked)


SHAPE, H100 = shape_of(LLAMA2_7B), GPUS["h100_80gb"]


def step_of_run(*overrides: str) -> TrainingStep:
    return step_of(compose("model=llama3_8b", "method=lora", *overrides), SHAPE, H100)


@pytest.mark.parametrize(("micro", "devices"), [(5, 1), (1, 1), (16, 1), (3, 2), (64, 4)])
def test_micro_batches_are_those_of_the_schedule(micro: int, devices: int) -> None:
    """As many of a rank as training has in a step of 16 records, with the rows of the largest; one row alone has no
    padding."""
    found = step_of_run("trainer=ddp", f"trainer.devices={devices}", f"trainer.micro_batch_size={micro}")
    schedule = Schedule([1200] * 16, 1200, 16, min(micro, 16), epochs=1, seed=0, world_size=devices)
    (window,) = schedule.windows(0)
    batches = [schedule.micro_batches(window, rank) for rank in range(devices)]
    assert {len(of_rank) for of_rank in batches} == {found.accumulation}
    assert max(len(rows) for of_rank in batches for rows in of_rank) == found.batch.rows
    assert found.batch.padded == (found.batch.rows > 1)


def test_the_strategy_and_the_devices_of_all_nodes_are_the_trainers():
    """A step knows its strategy, and on how many devices it is; types are those of one device."""
    found = step_of_run("trainer=zero2", "trainer.num_nodes=2", "trainer.offload=true")
    assert (found.strategy, found.devices, found.accumulation, found.offload) == ("zero2", 16, 1, True)
    assert (found.width.trained, step_of_run("trainer=fsdp").width.trained) == (4, 4)


def test_what_cannot_run_does_not_fit():
    """RieMoE-LoRA fits under ZeRO 2, and under ZeRO 3 it is not asked how much it needs."""
    runs = [compose("model=llama3_8b", "method=riemoe_lora", f"trainer={name}") for name in ("zero2", "zero3")]
    assert [fits(run, SHAPE, H100) for run in runs] == [True, False]
