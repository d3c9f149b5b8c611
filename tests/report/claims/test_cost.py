"""Claims about cost: closed forms, and curves by hand."""

import dataclasses
from collections.abc import Sequence

import pytest

from hycam_exp.records.record import Curves, RunRecord
from hycam_exp.report.claims.cost import claims, mean_training_loss, parameters, steps_to
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN, Finding, Statement
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.published import read
from tests.report.claims.test_evidence import evidence_of, of
from tests.report.conftest import mini_records, unclipped
from tests.report.toy import known_experiments, run_of


def statements(records: Sequence[RunRecord]) -> list[Statement]:
    evidence = evidence_of(records)
    return [claim.found(read(), evidence) for claim in claims(known_experiments().cache)]


def ours(records: Sequence[RunRecord]) -> dict[str, Finding]:
    return {statement.id: statement.ours[0] for statement in statements(records)}


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


def curves(train: list[float], validation: list[tuple[int, float]]) -> FinishedRun:
    rows = Curves(
        train=[{"step": i + 1, "loss": loss} for i, loss in enumerate(train)],
        validation=[{"step": step, "loss": loss} for step, loss in validation],
    )
    return run_of(dataclasses.replace(of("lora")[0], curves=rows))


def test_curves_by_hand() -> None:
    """The mean training loss; the first crossing, linear between validations, at the first one, or never."""
    record = curves([4.0, 2.0, 3.0], [(5, 3.0), (10, 2.0), (15, 2.5), (20, 1.0)])
    assert [mean_training_loss(record, steps) for steps in (1, 2, 3)] == [4.0, 3.0, 3.0]
    rows = Curves(train=[{"step": 3, "loss": 3.0}, {"step": 5, "loss": 7.0}], validation=[])
    windows = run_of(dataclasses.replace(record.record, curves=rows))
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

    def both(first: FinishedRun, second: FinishedRun) -> Finding:
        records = [
            dataclasses.replace(r, curves=run.record.curves)
            for method, run in (("hycam", first), ("lora", second))
            for r in of(method)
        ]
        return ours(records)["faster_convergence"]

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
        for record in of(name):
            fold = record.config["fold"]
            train = losses[: 2 + (fold % 2) * (name == "hycam")]
            shape = curves(train, [(len(train), 1.0 if name == "hycam" else 2.0)]).record.curves
            found.append(dataclasses.replace(record, curves=shape))
    values = ours(found)["faster_convergence"].values
    assert (values["area hycam"], values["area lora"]) == (1.0, 2.0)


def test_convergence_compares_one_row_of_each_method() -> None:
    """That which is as its YAML sets it, and it is named; another recipe of a baseline changes nothing else."""
    clipped = mini_records()
    more = [*clipped, *unclipped(of("riemoe_lora"))]
    alone, both = (ours(records)["faster_convergence"] for records in (clipped, more))
    assert both.values == alone.values
    assert both.text.endswith("; of several rows that most as its YAML sets it: riemoe_lora")
    assert "several rows" not in alone.text


def test_cost_is_compared_on_one_kind_of_hardware() -> None:
    """Seconds and memory from the records; other hardware, or a missing baseline, tells nothing."""
    assert ours(mini_records())["computational_efficiency"].verdict in (HOLDS, FAILS)
    assert ours(of("hycam", "full_ft"))["computational_efficiency"].verdict == UNKNOWN
    other = [
        dataclasses.replace(
            r, cost=dataclasses.replace(r.cost, hardware=dataclasses.replace(r.cost.hardware, device="other"))
        )
        for r in of("lora")
    ]
    found = ours([*of("hycam", "full_ft"), *other])["computational_efficiency"]
    assert (found.verdict, found.text) == (UNKNOWN, "measured on different hardware")


@pytest.mark.parametrize("method", ["full_ft", "lora"])
def test_of_a_baseline_in_two_variants_the_one_of_its_yaml_counts(method: str) -> None:
    """The same parameters, seconds and memory as if it alone had been run."""
    alone = of("hycam", "full_ft", "lora")
    other = [
        dataclasses.replace(
            r, run_id=f"{r.run_id}-e", cost=dataclasses.replace(r.cost, seconds={"train": 0.0}),
            config={**r.config, "recipe": {**r.config["recipe"], "epochs": 9}},
        )
        for r in of(method)
    ]  # fmt: skip
    found, expected = ours([*alone, *other]), ours(alone)
    for claim in ("fraction_of_full", "parameters_against_lora", "computational_efficiency"):
        assert found[claim].verdict in (HOLDS, FAILS)
        assert found[claim] == expected[claim]


def test_cost_is_compared_under_one_trainer() -> None:
    """Two devices, or another micro-batch, tell nothing and are named; a field's default is no difference."""

    def found(**trainer: object) -> Finding:
        records = [
            dataclasses.replace(r, config={**r.config, "trainer": {**r.config["trainer"], **trainer}})
            for r in of("full_ft")
        ]
        return ours([*of("hycam", "lora"), *records])["computational_efficiency"]

    differs = found(micro_batch_size=2, activation_checkpointing=True, strategy="fsdp", devices=2, num_nodes=2)
    assert (differs.verdict, differs.text) == (
        UNKNOWN,
        "measured with different strategy, devices, num_nodes, micro_batch_size, activation_checkpointing",
    )
    assert found(strategy="single", num_nodes=1).verdict in (HOLDS, FAILS)
