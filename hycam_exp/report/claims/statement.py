"""A statement of the paper with what the published tables and our records say of it."""

from dataclasses import dataclass, field

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict and the numbers it rests on."""

    verdict: str
    text: str
    values: dict[str, float] = field(default_factory=dict)
    setting: str | None = None
    """For our own records: the data mix, the backbones, the folds. It is not the paper's setting unless it says so."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What the paper says, in which place, and by which definition it is checked."""

    id: str
    statement: str
    where: str
    definition: str
    published: Finding
    ours: list[Finding] = field(default_factory=list)
    """One for each data mix with records of HyCAM; empty for what only the paper's tables can show."""


def verdict(holds: bool) -> str:
    """Holds, or does not."""
    return HOLDS if holds else FAILS


def listed(values: dict[str, float], form: str = "{:+.2f}%") -> str:
    """E.g. `lora +1.20%, multi_lora +3.00%`."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
