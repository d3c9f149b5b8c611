"""One cell's forecast: verdicts, suggestions, time, and work counted by hand."""

from dataclasses import replace

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.settings import Run
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.forecast import Forecast, forecast, work
from hycam_exp.plan.method_costs import costs_of
from hycam_exp.plan.sizes import MicroBatch, shape_of
from hycam_exp.plan.workload import Workload
from tests.plan.architectures import LLAMA2_7B, TOY

SHAPE = shape_of(LLAMA2_7B)
LOAD = Workload(train=1600, validation=200, test=100, tokens=300, records_from="", tokens_from="")
H100 = GPUS["h100_80gb"]


def paper(method: str, *overrides: str) -> Run:
    return compose("model=llama3_8b", f"method={method}", *overrides)


def of(run: Run, gpu: str = "h100_80gb", load: Workload | None = LOAD) -> Forecast:
    return forecast(run, SHAPE, load, GPUS[gpu], 0.5)


def test_hycam_fits_where_full_fine_tuning_does_not():
    """On one 80 GB GPU; 16 bytes a parameter need two."""
    assert of(paper("hycam")).fits
    found = of(paper("full_ft"))
    assert not found.fits
    assert str(found.remedy) == "trainer=fsdp trainer.devices=2 trainer.micro_batch_size=4"


def test_a_plan_names_no_memory_for_what_cannot_run():
    """RieMoE-LoRA under ZeRO 3: why, and a strategy that it works under."""
    found = of(paper("riemoe_lora", "trainer=zero3"))
    assert (found.fits, found.memory, found.memory_plain) == (False, None, None)
    assert found.refusal is not None
    assert "trainer.strategy=zero3 cannot carry its Riemannian preconditioning" in found.refusal
    assert str(found.remedy) == "trainer=fsdp trainer.devices=8 trainer.micro_batch_size=2"
    assert found.obstacle == f"{found.refusal}; fits with {found.remedy}"
    assert replace(found, remedy=None, refusal=None).obstacle == "does not fit; nothing tried helps"
    assert replace(found, fits=True).obstacle is None


def test_offload_fills_the_hosts_memory():
    """A node of 8 holds half of the optimiser of 16 devices, the gradients that it updates by, and what it updated."""
    found = of(paper("lora", "trainer=zero2", "trainer.num_nodes=2", "trainer.offload=true"))
    assert found.host_per_node == 8 * (12 + 4 + 4) * 159_907_840 // 16
    assert (found.devices, found.num_nodes, found.offload) == (16, 2, True)
    assert found.memory is not None
    assert found.memory.optimiser == found.memory.gradients == 0


def test_hours_are_work_over_speed():
    """100 steps an epoch, three epochs, at half of the peak; decoding 512 tokens for seven batches of 16."""
    found = of(paper("hycam"))
    assert found.steps == 300
    assert found.hours.train == pytest.approx(300 * found.flops_per_step / (0.5 * H100.narrow) / 3600)
    weights = 2 * 6_738_415_616 + 4 * 622_067_712
    assert H100.bandwidth is not None
    assert found.hours.generate == pytest.approx(7 * 512 * weights / H100.bandwidth / 3600)
    assert found.hours.total == pytest.approx(found.hours.train + found.hours.validate + found.hours.generate)


def test_devices_share_the_batches_that_are_decoded():
    """Seven batches over four devices take as long as two, over eight as long as one."""
    seven, two, one = (
        of(paper("hycam", "trainer=ddp", f"trainer.devices={n}", f"trainer.num_nodes={nodes}")).hours.generate
        for n, nodes in ((1, 1), (4, 1), (4, 2))
    )
    assert seven is not None
    assert (two, one) == (pytest.approx(seven * 2 / 7), pytest.approx(seven / 7))


def test_what_is_not_known_is_not_made_up():
    """No records, no hours and no steps; the work of a step is that of the longest."""
    found = of(paper("hycam"), load=None)
    assert (found.steps, found.hours.total, found.hours.train) == (None, None, None)
    assert found.flops_per_step > of(paper("hycam")).flops_per_step


def test_the_adapters_size():
    """Four bytes for each of its parameters; full fine-tuning saves the whole model."""
    assert of(paper("hycam")).adapter_bytes == 4 * 622_067_712
    assert of(paper("full_ft")).adapter_bytes == 4 * 6_738_415_616


def test_a_rank_above_the_width_is_refused():
    """As a run itself refuses it."""
    with pytest.raises(ValueError, match="rank"):
        of(paper("hycam", "method.rank=5000"))


BATCH = MicroBatch(rows=2, length=3, padded=True)
LINEAR = 2 * 2 * 6 * (8 * 16 + 64 + 288)  # two blocks, six tokens
HEAD = 2 * 4 * 10 * 8  # no row's last token is followed by a target
SQUARE = 2 * 2 * 6 * 3 * 8  # two blocks, one product of queries and keys


def test_full_fine_tuning():
    """Forward once, backward twice, attention 2 and 5 products."""
    found = work(costs_of(compose("method=full_ft").method, shape_of(TOY)), BATCH, False)
    assert found.forward == LINEAR + HEAD + 2 * SQUARE
    assert found.backward == 2 * (LINEAR + HEAD) + 5 * SQUARE
    assert found.recomputed == 0


def test_lora_needs_no_gradient_of_frozen_weights():
    """One product backward for each frozen weight, two for each of LoRA's; checkpointing computes blocks again."""
    found = work(costs_of(compose("method=lora", "recipe.rank=2").method, shape_of(TOY)), BATCH, True)
    lora = 2 * 2 * 6 * 2 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 12))
    assert found.forward == LINEAR + HEAD + 2 * SQUARE + lora
    assert found.backward == LINEAR + HEAD + 5 * SQUARE + 2 * lora
    assert found.recomputed == LINEAR + 2 * SQUARE + lora


def test_hycam_computes_b_again():
    """Shared 64, codes 5 x 2 x 8, router 5 x 8 a token, and B 5 x 2 x 8 once more backward; N folded once."""
    found = work(costs_of(compose("method=hycam", "recipe.rank=2").method, shape_of(TOY)), BATCH, True)
    once, up = 6 * (64 + 80 + 40) + 5 * 2 * 2 * 8, 6 * 80
    assert found.forward == LINEAR + HEAD + 2 * SQUARE + 2 * 2 * (once + up)
    assert found.backward == LINEAR + HEAD + 5 * SQUARE + 2 * 2 * (2 * once + 3 * up)


def test_six_operations_a_weight_and_token():
    """The rule of thumb, for a short text: within 2% for all weights but the input embedding."""
    batch = MicroBatch(rows=1, length=64, padded=False)
    found = work(costs_of(compose("method=full_ft").method, shape_of(LLAMA2_7B)), batch, False)
    assert found.total == pytest.approx(6 * (6_738_415_616 - 32000 * 4096) * 64, rel=0.02)
