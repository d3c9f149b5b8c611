"""What another paper says of LoRA at the budget of routed methods, on our records: arXiv 2508.05078."""

from statistics import fmean

from hycam_exp.config.method_settings import TOLERANCE
from hycam_exp.report.claims.evidence import PLAIN_LORA, BackboneEvidence
from hycam_exp.report.claims.statements import Claim, Finding, listed, told, unknown
from hycam_exp.report.select import SelectedRow

NONE = "not treated: no such records"
NEARLY = 2.0
"""Percent of a routed method's perplexity, up to which a higher one of LoRA still nearly equals it."""


def _nearest_lora(routed: SelectedRow, backbone: BackboneEvidence) -> SelectedRow | None:
    """The row of LoRA whose trained parameters are closest, where they are within `TOLERANCE`."""
    budget = routed.runs[0].parameters
    far = {row: abs(row.runs[0].parameters - budget) for row in backbone.budgets if row.method in PLAIN_LORA}
    nearest = min(far, key=lambda row: (far[row], row.label), default=None)
    return nearest if nearest is not None and far[nearest] <= TOLERANCE * budget else None


def _matched_lora(backbone: BackboneEvidence) -> Finding:
    routed = [row for row in backbone.budgets if row.method not in PLAIN_LORA]
    pairs = {row: lora for row in routed if (lora := _nearest_lora(row, backbone)) is not None}
    if not pairs:
        return unknown(NONE)
    above = {row.label: 100 * (_perplexity(lora) / _perplexity(row) - 1) for row, lora in pairs.items()}
    text = f"LoRA's perplexity against {listed(above)}; in the mean {fmean(above.values()):+.2f}%"
    return told(max(above.values()) <= NEARLY, text, above)


def _perplexity(row: SelectedRow) -> float:
    found = row.mean("ppl")
    assert found is not None, "evidence holds scored rows"
    return found


CLAIMS = [
    Claim(
        id="matched_lora_nearly_equals_routed",
        statement="a LoRA with as many trained parameters nearly equals mixtures of LoRA modules with a router",
        where="arXiv 2508.05078",
        definition=f"LoRA's perplexity is at most {NEARLY:g}% above that of each routed method whose trained parameters"
        f" are within {TOLERANCE:.0%} of its own, at whatever size both were run; means over tasks, then over folds",
        published="another paper's; its tables are not here (it gives, on BBH with Llama 2 7B, 42.21 for LoRA at the"
        " budget at which HydraLoRA has 41.46 and R-LoRA 42.24)",
        of_backbone=_matched_lora,
        without=NONE,
    ),
]
