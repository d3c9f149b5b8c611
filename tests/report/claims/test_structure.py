"""Claims about parameters, routing, clusters and folds, by hand."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from hycam_exp.records.record import RoutingRow, RunRecord
from hycam_exp.report.claims.evidence import Evidence, gather
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN, Finding
from hycam_exp.report.claims.structure import claims, silhouette, smallest_share
from hycam_exp.report.published import read
from hycam_exp.report.sources import RecordSource
from tests.report.claims.test_evidence import evidence_of, of
from tests.report.toy import known_experiments, record, run_of, selection_of


def found(evidence: list[Evidence]) -> dict[str, tuple[Finding, list[Finding]]]:
    return {
        claim.id: (s.published, s.ours)
        for claim in claims(known_experiments().cache)
        for s in [claim.found(read(), evidence)]
    }


def test_feed_forward_layers_do_not_hold_90_percent() -> None:
    """64% of Llama 2 7B: 32 blocks of three matrices of 4,096 x 11,008, of 6,738,415,616 parameters."""
    finding, ours = found([])["feed_forward_share"]
    assert finding.verdict == FAILS
    assert finding.values["llama2_7b"] == pytest.approx(100 * 32 * 3 * 4096 * 11008 / 6_738_415_616)
    assert "llama2_7b 64%" in finding.text
    assert ours == []


def routed(weights: list[list[float]], tokens: list[int]) -> RunRecord:
    """A run whose one layer gave these weights in tasks of so many tokens."""
    rows = [
        RoutingRow(layer="l", task=str(i), tokens=n, weights=of_task, entropy=0.5)
        for i, (of_task, n) in enumerate(zip(weights, tokens, strict=True))
    ]
    return dataclasses.replace(record(0, 2.0, "hycam"), routing=rows)


def test_the_least_used_module_is_over_all_tokens() -> None:
    """Tasks weigh by their tokens; two modules have an even share of one half; a run without a router has none."""
    share = smallest_share(run_of(routed([[0.5, 0.5], [0.9, 0.1]], [1, 3])))
    assert share == (pytest.approx(2 * (0.5 + 3 * 0.1) / 4), "l")
    assert smallest_share(run_of(record(0, 2.0))) is None


def test_a_dead_module_in_one_fold_is_no_balance() -> None:
    """In the run of fold 0 one of two modules has a mean weight of 0.002."""
    first, *others = of("hycam")
    dead = dataclasses.replace(first, routing=routed([[0.998, 0.002]], [9]).routing)
    finding = found(evidence_of([dead, *others, *of("lora")]))["balanced_utilisation"][1][0]
    assert finding.verdict == FAILS
    assert finding.values["fold 0"] == pytest.approx(2 * 0.002)
    assert finding.text.endswith("; a dead module in fold 0")
    balanced = [dataclasses.replace(r, routing=routed([[0.4, 0.6]], [9]).routing) for r in of("hycam")]
    finding = found(evidence_of([*balanced, *of("lora")]))["balanced_utilisation"][1][0]
    assert (finding.verdict, finding.values["fold 0"]) == (HOLDS, pytest.approx(0.8))


def test_silhouette_is_sklearns() -> None:
    """On points in three clusters, one of a single point."""
    points = np.random.default_rng(0).standard_normal((30, 2))
    labels = ["a"] * 14 + ["b"] * 15 + ["c"]
    assert silhouette(points, labels) == pytest.approx(silhouette_score(points, labels))


def test_clusters_are_told_by_the_drawn_points(tmp_path: Path) -> None:
    """Further apart with CAM than without: it holds; the other way it does not; without a figure the command is
    named."""
    source = RecordSource(tmp_path / "records", tmp_path)
    path = tmp_path / "figures" / of("hycam")[0].run_id / "tsne.csv"
    path.parent.mkdir(parents=True)

    def verdict(apart_without: float, apart_with: float) -> Finding:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("kind", "state", "task", "record", "position", "x", "y"))
            for state, apart in (("without", apart_without), ("with", apart_with)):
                for place, (task, x, y) in enumerate((("a", 0, 0), ("a", 0, 1), ("b", apart, 0), ("b", apart, 1))):
                    writer.writerow(("value", state, task, "r", place, x, y))
                writer.writerow(("attention", state, "a", "r", 0, 0, 0))
        return found(gather(selection_of(of("hycam", "lora"), source)))["coherent_clusters"][1][0]

    assert verdict(2.0, 9.0).verdict == HOLDS
    assert verdict(9.0, 2.0).verdict == FAILS
    assert verdict(0.0, 0.1).verdict == FAILS  # a little more, and no cluster
    path.unlink()
    finding = found(gather(selection_of(of("hycam", "lora"), source)))["coherent_clusters"][1][0]
    assert finding.verdict == UNKNOWN
    assert "python -m hycam_exp.report figures run=tiny_llama-hycam-mini-f0-s0-" in finding.text


def test_five_folds_of_a_tenth_test_half_of_the_records() -> None:
    """By arithmetic, and in the committed runs by their counts."""
    finding, (ours,) = found(evidence_of(of("hycam", "lora")))["cross_validation"]
    assert (finding.verdict, finding.values["tested"]) == (FAILS, pytest.approx(0.5))
    assert (ours.verdict, ours.values) == (FAILS, {"tested": pytest.approx(0.5), "trained": pytest.approx(0.7)})
    assert ours.text == "5 folds test 50% of the records, once each; 70% of a fold are trained on"
