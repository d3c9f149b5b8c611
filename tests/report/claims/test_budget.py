"""LoRA at the budget of routed methods, on records whose sizes are made up."""

import dataclasses
from collections.abc import Sequence

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.report.claims.budget import CLAIMS
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN, Finding
from hycam_exp.report.published import read
from tests.report.claims.test_evidence import evidence_of, of, with_config
from tests.report.conftest import mini_row


def sized(method: str, parameters: int, factor: float = 1.0) -> list[RunRecord]:
    """The committed records of a method with another number of trained parameters and other perplexities."""
    return [
        dataclasses.replace(
            record,
            counts=dataclasses.replace(record.counts, parameters_trainable=parameters),
            scores=[
                dataclasses.replace(s, value=s.value * factor) if s.metric == "ppl" and s.value is not None else s
                for s in record.scores
            ],
        )
        for record in of(method)
    ]


def found(*records: Sequence[RunRecord]) -> Finding:
    (claim,) = CLAIMS
    evidence = evidence_of([*of("hycam"), *(record for of_method in records for record in of_method)])
    return claim.found(read(), evidence).ours[0]


def test_without_records_of_both_at_one_budget_it_is_not_treated() -> None:
    """Neither no record at all, nor routed methods alone, LoRA at another size, or methods without a router."""
    assert CLAIMS[0].found(read(), []).ours[0].text == "not treated: no such records"
    lora, routed = sized("lora", 1000), sized("riemoe_lora", 1101 * 10)
    for records in ((), (lora,), (routed,), (lora, routed), (lora, sized("multi_lora", 1000))):
        finding = found(*records)
        assert (finding.verdict, finding.text) == (UNKNOWN, "not treated: no such records")


@pytest.mark.parametrize(("above", "verdict"), [(1.9, HOLDS), (-5.0, HOLDS), (2.1, FAILS)])
def test_loras_perplexity_may_be_two_percent_higher(above: float, verdict: str) -> None:
    """The difference is that of means over folds, in percent of the routed method's."""
    routed = mini_row("riemoe_lora").mean("ppl")
    lora = mini_row("lora").mean("ppl")
    assert routed is not None
    assert lora is not None
    finding = found(sized("riemoe_lora", 1000), sized("lora", 1090, (1 + above / 100) * routed / lora))
    assert finding.verdict == verdict
    assert finding.values == {"riemoe_lora": pytest.approx(above)}


def test_the_lora_of_the_nearest_size_counts() -> None:
    """With several sizes of LoRA a routed method stands beside the one that is closest, lora_matched included."""
    near, far = with_config(sized("multi_lora", 1010), name="lora_matched"), sized("lora", 1060, 3.0)
    finding = found(sized("riemoe_lora", 1000), near, far)
    matched, routed = mini_row("multi_lora").mean("ppl"), mini_row("riemoe_lora").mean("ppl")
    assert matched is not None
    assert routed is not None
    assert finding.values == {"riemoe_lora": pytest.approx(100 * (matched / routed - 1))}
