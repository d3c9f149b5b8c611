"""The paper's statements as a table: what it says, where, by which check, and what its tables and our runs say of it.

found(read(), evidence, cache)[0].published.verdict  # "does not hold": the average improvement is not 3.65%
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hycam_exp.report.cache import Cache
from hycam_exp.report.claims.evidence import BackboneEvidence, Evidence
from hycam_exp.report.published import Published
from hycam_exp.report.titles import number

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict and the numbers it rests on."""

    verdict: str
    text: str
    values: Mapping[str, float] = field(default_factory=dict)
    setting: str | None = None
    """For our own records: the data mix, the backbones, the folds. It is not the paper's setting unless it says so."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What the paper says, in which place, by which definition it is checked, and what was found."""

    id: str
    statement: str
    where: str
    definition: str
    published: Finding
    ours: list[Finding] = field(default_factory=list)
    """One for each data mix with records of HyCAM; empty for what only the paper's tables can show."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row of the table of statements: what the paper says, and the one check of it."""

    id: str
    statement: str
    where: str
    definition: str
    published: Callable[[Published], Finding] | str
    """The check on the paper's tables, or why they cannot tell."""
    of_mix: Callable[[Evidence], Finding] | None = None
    """The check on the runs of a data mix."""
    of_backbone: Callable[[BackboneEvidence], Finding] | None = None
    """The check on the runs of each backbone, where it is made so."""
    without: str = "no records of HyCAM"
    """What is said of our runs where there are none of HyCAM, beside which all evidence stands."""

    def found(self, published: Published, evidence: Sequence[Evidence]) -> Statement:
        """The statement with its verdicts."""
        unknown = Finding(verdict=UNKNOWN, text=str(self.published))
        return Statement(
            id=self.id, statement=self.statement, where=self.where, definition=self.definition,
            published=unknown if isinstance(self.published, str) else self.published(published),
            ours=self._ours(evidence),
        )  # fmt: skip

    def _ours(self, evidence: Sequence[Evidence]) -> list[Finding]:
        if self.of_mix:
            found = [replace(self.of_mix(mix), setting=mix.setting) for mix in evidence]
        elif self.of_backbone:
            found = [
                replace(self.of_backbone(backbone), setting=mix.setting_of(backbone))
                for mix in evidence
                for backbone in mix.backbones
            ]
        else:
            return []
        return found or [Finding(verdict=UNKNOWN, text=self.without)]


def found(published: Published, evidence: Sequence[Evidence], cache: Cache) -> list[Statement]:
    """Every statement with its verdicts, in the order of the paper's subjects."""
    from hycam_exp.report.claims import budget, consistency, cost, scores, structure

    claims = [*scores.CLAIMS, *budget.CLAIMS, *structure.claims(cache), *cost.claims(cache), *consistency.CLAIMS]
    return [claim.found(published, evidence) for claim in claims]


def verdict(holds: bool) -> str:
    """Holds, or does not."""
    return HOLDS if holds else FAILS


def told(holds: bool, text: str, values: Mapping[str, float] | None = None) -> Finding:
    """A finding with a verdict of yes or no."""
    return Finding(verdict=verdict(holds), text=text, values=values or {})


def unknown(text: str) -> Finding:
    """A finding without a verdict, and why."""
    return Finding(verdict=UNKNOWN, text=text)


def listed(values: Mapping[str, float], form: str = "+.2f", unit: str = "%") -> str:
    """E.g. `lora +1.20%, multi_lora +3.00%`."""
    return ", ".join(f"{name} {number(value, form)}{unit}" for name, value in values.items())
