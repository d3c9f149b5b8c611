"""Claims about cost: closed forms, and curves by hand."""

import dataclasses

import pytest

from hycam_exp.report.claims.cost import mean_training_loss, parameters, statements, steps_to
from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.statement import FAILS, HOLDS, UNKNOWN, Finding
from hycam_exp.report.select import Summary, summarise
from hycam_exp.runs import RunRecord
from tests.report.claims.test_evidence import SUMMARIES, of


def ours(summaries: list) -> dict[str, Finding]:
    return {statement.id: statement.ours[0] for statement in statements(gather(summaries))}


@pytest.mark.parametrize(
    ("model", "hycam", "lora"),
    [("llama2_7b", 622_067_712, 159_907_840), ("qwen2_5_14b", 1_417_789_440, 275_251_200)],
)
def test_parameters_of_published_backbones(model: str, hycam: int, lora: int) -> None:
    """By hand: blocks x (d^2 + 5 (2 d r + r^2 + d)), and r (inputs + outputs) of every linear layer, r = 64."""
    blocks, d = {"llama2_7b": (32, 4096), "qwen2_5_14b": (48, 5120)}[model]
    found = parameters()[model]
    assert found["hycam"] == hycam == blocks * (d * d + 5 * (2 * d * 64 + 64 * 64 + d))
    assert found["lora"] == lora
    assert found["hycam_shared_only"] == blocks * d * d > lora


def test_published_verdicts_follow_from_the_closed_forms() -> None:
    """9.2 and 9.6% of full fine-tuning; 3.89 and 5.15 times LoRA; time, memory and curves are not published."""
    found = {statement.id: statement.published for statement in statements([])}
    assert {name: finding.verdict for name, finding in found.items()} == {
        "fraction_of_full": HOLDS, "parameters_against_lora": FAILS, "faster_convergence": UNKNOWN,
        "computational_efficiency": UNKNOWN,
    }  # fmt: skip
    assert found["fraction_of_full"].values["llama2_7b_ratio"] == pytest.approx(0.0923, abs=5e-5)
    assert found["parameters_against_lora"].values["qwen2_5_14b_ratio"] == pytest.approx(5.15, abs=5e-3)
    assert all(s.ours[0].verdict == UNKNOWN for s in statements([]))


def curves(train: list[float], validation: list[tuple[int, float]]) -> RunRecord:
    record = of("lora").records[0]
    rows = {
        "train": [{"step": i + 1, "loss": loss} for i, loss in enumerate(train)],
        "validation": [{"step": step, "loss": loss} for step, loss in validation],
    }
    return dataclasses.replace(record, curves=rows)


def test_curves_by_hand() -> None:
    """The mean training loss; the first crossing, linear between validations, at the first one, or never."""
    record = curves([4.0, 2.0, 3.0], [(5, 3.0), (10, 2.0), (15, 2.5), (20, 1.0)])
    assert [mean_training_loss(record, steps) for steps in (1, 2, 3)] == [4.0, 3.0, 3.0]
    windows = dataclasses.replace(record, curves={"train": [{"step": 3, "loss": 3.0}, {"step": 5, "loss": 7.0}]})
    assert [mean_training_loss(windows, steps) for steps in (2, 4, 5)] == [3.0, (3 * 3.0 + 7.0) / 4, (9.0 + 14.0) / 5]
    assert steps_to(record, 2.5) == 7.5
    assert steps_to(record, 2.0) == 10.0
    assert steps_to(record, 3.5) == 5.0
    assert steps_to(record, 1.5) == pytest.approx(15 + 5 * 2 / 3)
    assert steps_to(record, 0.5) is None


def test_convergence_compares_runs_within_a_fold() -> None:
    """The verdict is HyCAM's if it is before all others in both measures; of a run that ends early, or of a smaller
    fold, the steps that all have are compared; no curves tell nothing.
    """
    hycam, lora = of("hycam"), of("lora")

    def both(first: RunRecord, second: RunRecord) -> Finding:
        settings = [
            dataclasses.replace(s, records=tuple(dataclasses.replace(r, curves=c.curves) for r in s.records))
            for s, c in ((hycam, first), (lora, second))
        ]
        return ours(settings)["faster_convergence"]

    fast, slow = curves([3.0, 1.0], [(1, 2.0), (2, 1.0)]), curves([3.0, 2.0], [(1, 3.0), (2, 2.0)])
    found = both(fast, slow)
    assert (found.verdict, found.values["steps hycam"], found.values["steps lora"]) == (HOLDS, 1.0, 2.0)
    assert both(slow, fast).verdict == FAILS
    assert both(fast, fast).verdict == FAILS  # as fast is not faster
    early = both(curves([2.0, 9.0, 9.0], [(1, 2.0), (2, 1.0), (3, 1.5)]), curves([3.0, 2.0], [(1, 3.0), (2, 2.0)]))
    assert early.values == {"area hycam": 5.5, "area lora": 2.5, "steps hycam": 1.0, "steps lora": 2.0}
    assert both(curves([2.0, 2.0, 9.0], [(3, 1.0)]), curves([3.0, 2.0], [(2, 2.0)])).values["area hycam"] == 2.0
    assert both(fast, curves([4.0], [(2, 3.0)])).verdict == HOLDS
    assert both(fast, curves([], [])).verdict == UNKNOWN


def test_folds_of_unequal_size_are_compared_each_by_itself() -> None:
    """The areas of every fold go as far as its shortest run, whatever other folds have."""
    found = []
    for name, losses in (("hycam", [1.0, 1.0, 9.0]), ("lora", [2.0, 2.0, 2.0])):
        records = []
        for record in of(name).records:
            fold = record.config["fold"]
            train = losses[: 2 + (fold % 2) * (name == "hycam")]
            shape = curves(train, [(len(train), 1.0 if name == "hycam" else 2.0)]).curves
            records.append(dataclasses.replace(record, curves=shape))
        found.append(dataclasses.replace(of(name), records=tuple(records)))
    values = ours(found)["faster_convergence"].values
    assert (values["area hycam"], values["area lora"]) == (1.0, 2.0)


def test_convergence_compares_one_setting_of_each_method() -> None:
    """That which is most like HyCAM's, and it is named; another recipe of a baseline changes nothing else."""
    (clipped,) = (s for s in SUMMARIES if s.variant == "recipe.clip=1.0")
    alone = ours([s for s in SUMMARIES if s.method != "riemoe_lora" or s is clipped])["faster_convergence"]
    both = ours(SUMMARIES)["faster_convergence"]
    assert both.values == alone.values
    assert both.text.endswith("; of several settings the one most like HyCAM's: riemoe_lora (recipe.clip=1.0)")
    assert "several settings" not in alone.text


def test_cost_is_compared_on_one_kind_of_hardware() -> None:
    """Seconds and memory from the records; other hardware, or a missing baseline, tells nothing."""
    assert ours(SUMMARIES)["computational_efficiency"].verdict in (HOLDS, FAILS)
    assert ours([of("hycam"), of("full_ft")])["computational_efficiency"].verdict == UNKNOWN
    other = dataclasses.replace(
        of("lora"),
        records=tuple(
            dataclasses.replace(r, cost={**r.cost, "hardware": {**r.cost["hardware"], "device": "other"}})
            for r in of("lora").records
        ),
    )
    found = ours([of("hycam"), of("full_ft"), other])["computational_efficiency"]
    assert (found.verdict, found.text) == (UNKNOWN, "measured on different hardware")


def seeded(summary: Summary, seed: int, **cost: object) -> list[RunRecord]:
    """The records as if another seed had been set."""
    return [
        dataclasses.replace(r, run_id=f"{r.run_id}-{seed}", config={**r.config, "seed": seed}, cost={**r.cost, **cost})
        for r in summary.records
    ]


@pytest.mark.parametrize("method", ["full_ft", "lora"])
def test_of_a_baseline_in_two_settings_the_one_like_hycam_counts(method: str) -> None:
    """Whatever their labels: the same parameters, seconds and memory as if HyCAM's seed alone had been run."""
    alone = summarise(r for name in ("hycam", "full_ft", "lora") for r in of(name).records)
    both = summarise([*(r for s in alone for r in s.records), *seeded(of(method), 100, seconds={"train": 0.0})])
    assert len(both) == len(alone) + 1
    for claim in ("fraction_of_full", "parameters_against_lora", "computational_efficiency"):
        found = ours(both)[claim]
        assert found.verdict in (HOLDS, FAILS)
        assert found == ours(alone)[claim]


def test_cost_is_compared_under_one_trainer() -> None:
    """Two devices, or another micro-batch, tell nothing and are named; a field's default is no difference."""

    def found(**trainer: object) -> Finding:
        records = (
            dataclasses.replace(r, config={**r.config, "trainer": {**r.config["trainer"], **trainer}})
            for r in of("full_ft").records
        )
        return ours([of("hycam"), of("lora"), dataclasses.replace(of("full_ft"), records=tuple(records))])[
            "computational_efficiency"
        ]

    differs = found(micro_batch_size=2, activation_checkpointing=True, strategy="fsdp", devices=2, num_nodes=2)
    assert (differs.verdict, differs.text) == (
        UNKNOWN,
        "measured with different strategy, devices, num_nodes, micro_batch_size, activation_checkpointing",
    )
    assert found(strategy="single", num_nodes=1).verdict in (HOLDS, FAILS)
