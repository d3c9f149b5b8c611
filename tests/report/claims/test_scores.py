"""Claims about scores, on the published tables and on records that are made up."""

import dataclasses
from collections.abc import Sequence

import pytest

from hycam_exp.records.record import RunRecord
from hycam_exp.report.claims.scores import CLAIMS
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN, Finding
from hycam_exp.report.published import Published, read
from tests.report.claims.test_evidence import evidence_of, of
from tests.report.conftest import mini_records


def published(tables: Published | None = None) -> dict[str, Finding]:
    return {claim.id: claim.found(tables or read(), []).published for claim in CLAIMS}


def ours(records: Sequence[RunRecord]) -> dict[str, Finding]:
    evidence = evidence_of(records)
    return {claim.id: claim.found(read(), evidence).ours[0] for claim in CLAIMS}


def scaled(records: Sequence[RunRecord], factor: float) -> list[RunRecord]:
    """HyCAM's records with the scores of others: perplexities and retention times `factor`, overlaps over it."""
    return [
        dataclasses.replace(
            hycam,
            scores=[
                dataclasses.replace(s, value=s.value * factor if s.metric.startswith("ppl") else s.value / factor)
                if s.value is not None and s.metric in ("ppl", "bleu4", "rouge_l", "ppl_change")
                else s
                for s in record.scores
            ],
        )
        for hycam, record in zip(of("hycam"), records, strict=True)
    ]


def changed(table: str, method: str, column: str, metric: str, value: float) -> Published:
    """The published tables with another value in one cell."""
    tables = read()
    cells = [
        dataclasses.replace(c, value=value) if (c.method, c.column, c.metric) == (method, column, metric) else c
        for c in tables.tables[table]
    ]
    return dataclasses.replace(tables, tables={**tables.tables, table: cells})


def test_verdicts_of_the_published_tables() -> None:
    """What the paper's own numbers say of its statements."""
    assert {name: finding.verdict for name, finding in published().items()} == {
        "average_improvement": FAILS, "best_everywhere": HOLDS, "significance": UNKNOWN, "over_each_peft": HOLDS,
        "consistent_over_peft": HOLDS, "over_full_fine_tuning": HOLDS, "growth_ppl_qwen2_5": HOLDS,
        "growth_mean_qwen2_5": FAILS, "growth_ppl_llama3_2": FAILS, "growth_mean_llama3_2": HOLDS,
        "best_or_second_by_task": FAILS, "hard_tasks": HOLDS, "ablation": HOLDS, "retention": UNKNOWN,
    }  # fmt: skip


def test_the_average_improvement_is_not_365() -> None:
    """2.97% over the best of four, 4.09% over the best PEFT method; 3.653% without RieMoE-LoRA alone."""
    values = published()["average_improvement"].values
    assert values["best of all baselines"] == pytest.approx(2.97, abs=0.005)
    assert values["best PEFT baseline"] == pytest.approx(4.09, abs=0.005)
    assert values["best without RieMoE-LoRA"] == pytest.approx(3.653, abs=0.0005)
    assert values["low"] < values["best of all baselines"] < values["high"] < 3.65


def test_growth_with_size() -> None:
    """The improvements over the best PEFT baseline from 0.5B to 14B."""
    found = published()
    ppl = [0.3, 2.3, 2.0, 2.6, 3.9]
    mean = [8.1, 5.9, 3.9, 5.3, 3.6]
    assert list(found["growth_ppl_qwen2_5"].values.values()) == pytest.approx(ppl, abs=0.05)
    assert list(found["growth_mean_qwen2_5"].values.values()) == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize(
    ("table", "method", "column", "metric", "value", "id", "verdict"),
    [
        ("table2_main", "hycam", "mistral_7b", "bleu4", 0.193, "average_improvement", HOLDS),
        ("table2_main", "lora", "mistral_7b", "ppl", 3.2, "best_everywhere", FAILS),
        ("table2_main", "lora", "mistral_7b", "ppl", 3.2, "over_each_peft", FAILS),
        ("table4_llama32", "lora", "llama3_2_3b", "rouge_l", 0.25, "consistent_over_peft", FAILS),
        ("table3_qwen_sizes", "lora", "qwen2_5_14b", "ppl", 2.683, "growth_ppl_qwen2_5", FAILS),
        ("table5_tasks_llama2_7b", "multi_lora", "dolly", "bleu4", 0.09, "best_or_second_by_task", HOLDS),
        ("table5_tasks_llama2_7b", "hycam", "dolly", "rouge_l", 0.3, "hard_tasks", FAILS),
    ],
)
def test_a_changed_cell_changes_the_verdict(
    table: str, method: str, column: str, metric: str, value: float, id: str, verdict: str
) -> None:
    """Nothing is remembered of the committed numbers."""
    assert published()[id].verdict != verdict
    assert published(changed(table, method, column, metric, value))[id].verdict == verdict


def test_ablation_follows_the_table() -> None:
    """A variant that is as good as HyCAM refutes it."""
    tables = read()
    found = published(dataclasses.replace(tables, ablation={**tables.ablation, "hycam_full_spec": 3.081}))
    assert found["ablation"].verdict == FAILS
    assert "not worse than HyCAM: hycam_full_spec" in found["ablation"].text


def test_verdicts_of_the_committed_records() -> None:
    """Every finding of ours is labelled as the mini set; one backbone tells nothing of growth, and no ablation has a
    record yet."""
    found = ours(mini_records())
    assert {finding.setting for finding in found.values()} == {"the mini set; tiny_llama; 5 of 5 folds"}
    assert {name for name, finding in found.items() if finding.verdict == UNKNOWN} == {
        "growth_ppl_qwen2_5", "growth_mean_qwen2_5", "growth_ppl_llama3_2", "growth_mean_llama3_2", "hard_tasks",
        "ablation",
    }  # fmt: skip
    assert found["average_improvement"].verdict == FAILS


def test_records_in_which_hycam_is_far_better_confirm_the_claims() -> None:
    """With HyCAM's scores twice as good as full fine-tuning's every claim of being better holds, significance too."""
    others = of("full_ft", "lora", "multi_lora", "riemoe_lora")
    found = ours([*scaled(of("full_ft"), 0.5), *others])
    for name in ("average_improvement", "best_everywhere", "significance", "over_each_peft", "consistent_over_peft"):
        assert found[name].verdict == HOLDS, name
    assert found["significance"].values["stars"] == 3
    assert found["best_or_second_by_task"].values == {"best": 15, "second": 0, "cells": 15}
    assert found["over_full_fine_tuning"].verdict == HOLDS


def test_baselines_without_any_overlap_break_nothing() -> None:
    """BLEU-4 of 0, as in a short trial: HyCAM's is better where it is above, by no percentage."""
    nought = [
        dataclasses.replace(
            r, scores=[dataclasses.replace(x, value=0.0) if x.metric == "bleu4" else x for x in r.scores]
        )
        for r in of("full_ft", "lora", "multi_lora", "riemoe_lora")
    ]
    found = ours([*scaled(of("full_ft"), 0.5), *nought])
    assert found["best_everywhere"].values == {"better": 3, "cells": 3}
    for name in ("average_improvement", "over_each_peft"):
        assert "a baseline's score is 0" in found[name].text
    assert (found["average_improvement"].verdict, found["over_each_peft"].verdict) == (UNKNOWN, HOLDS)
    assert ours([*of("hycam"), *nought])["over_each_peft"].verdict == FAILS


def test_missing_baselines_or_folds_tell_nothing() -> None:
    """HyCAM alone, or with two folds: a comparison cannot be told, with the reason."""
    told = {name for name, finding in ours(of("hycam")).items() if finding.verdict != UNKNOWN}
    assert told == set()
    two = [*of("hycam")[:2], *of("lora")[:2]]
    assert ours(two)["significance"].verdict == UNKNOWN
    assert "hycam lacks folds 2, 3, 4" in ours(two)["significance"].text


def test_runs_that_decoded_nothing_leave_the_overlap_open() -> None:
    """Without BLEU-4 a claim over all metrics cannot be told, and none of them breaks the report."""
    of_ppl = [dataclasses.replace(r, scores=[x for x in r.scores if "bleu" not in x.metric]) for r in mini_records()]
    assert ours(of_ppl)["hard_tasks"].verdict == UNKNOWN


def test_without_records_nothing_is_told() -> None:
    """And every statement about scores says so."""
    for claim in CLAIMS:
        assert [finding.verdict for finding in claim.found(read(), []).ours] == [UNKNOWN]


def test_the_backbone_of_two_tables_counts_once() -> None:
    """Qwen2.5-7B stands in Tables 2 and 3: of 36 printed cells 33 are distinct, and HyCAM is better in all."""
    found = published()["consistent_over_peft"]
    assert found.values == {"better": 33, "cells": 33}
    assert found.text == "better in 33 of 33 cells (36 with those that stand in two tables)"
