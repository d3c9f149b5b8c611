"""Which records stand in a row of a table: those of one setting, data, split and version; others are refused by name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hycam_exp.config import NUM_FOLDS
from hycam_exp.report import setting
from hycam_exp.report.experiments import Expected
from hycam_exp.report.select import Summary
from hycam_exp.runs import RunRecord

Tested = tuple[str, str]
"""What a fold's records are: the digests of the split and of the data's content."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row's records, or why there are none."""

    expected: Expected
    summary: Summary | None = None
    """None where no record fits, or those that do were refused."""
    variant: str = ""
    """How the setting differs from the experiment's; empty for the experiment's own."""
    refused: str | None = None
    """How the records differ that may not stand in one row."""
    note: str | None = None
    """What else a reader must know."""
    mixed: str | None = None
    """How the records differ that stand in one row because the user allowed it."""

    @property
    def place(self) -> str:
        """The row's name for a list of problems."""
        variant = f" ({self.variant})" if self.variant else ""
        return " x ".join(self.expected.names) + variant


def match(expected: Expected, summaries: Sequence[Summary], allow_mixed: bool) -> Match:
    """The row's records among all: those of the experiment's setting; with `allow_mixed` others fill the gaps."""
    near = [s for s in _named(expected, summaries) if not _between(expected, s, ("method.", "seed"))]
    exact = _exact(expected, near)
    others = [s for s in near if s not in exact]
    if allow_mixed:
        return _filled(expected, _nearest(expected, exact) + _by_folds(others), len(exact))
    found, doubled = _one_each(expected, exact)
    difference = _mixing(found)
    lacking = [fold for fold in range(NUM_FOLDS) if fold not in {r.config["fold"] for r in found}]
    elsewhere = [text for s in others if (text := _elsewhere(expected, s, lacking))]
    mixing = "; ".join(elsewhere)
    note = "; ".join(filter(None, (f"not mixed in: {mixing}" if mixing else None, doubled))) or None
    if difference:
        return Match(expected=expected, refused=difference, note=note)
    in_part = bool(found) and any(_may_mix(expected, s, lacking) for s in others)
    return Match(
        expected=expected,
        summary=_joined(expected, found) if found else None,
        refused=mixing if mixing and in_part else None,
        note=note,
    )


def folds_run(expected: Expected, summaries: Sequence[Summary]) -> set[int]:
    """The folds that have a record of the experiment's setting, whether or not they may stand in one row."""
    return {fold for s in _exact(expected, _named(expected, summaries)) for fold in s.folds}


def _named(expected: Expected, summaries: Sequence[Summary]) -> list[Summary]:
    return [s for s in summaries if (s.model, s.method, s.data) == expected.names]


def _exact(expected: Expected, named: Sequence[Summary]) -> list[Summary]:
    return [s for s in named if not _between(expected, s, ("",))]


def variants(expected: Expected, summaries: Sequence[Summary]) -> list[Match]:
    """Settings on the same data that differ from the experiment's in their recipe, by their differences."""
    alike: dict[str, list[Summary]] = {}
    for s in _named(expected, summaries):
        keys = _between(expected, s, ("",))
        if keys and all(key.startswith("recipe.") for key in keys):
            alike.setdefault(setting.shown(setting.only(s.setting, keys)), []).append(s)
    return [_variant(expected, variant, alike[variant]) for variant in sorted(alike)]


def _variant(expected: Expected, variant: str, summaries: Sequence[Summary]) -> Match:
    """One row of all settings that are called by one variant: they differ in what decides no score, or are refused."""
    found, doubled = _one_each(expected, summaries)
    difference = _mixing(found)
    joined = None if difference else _joined(expected, found)
    return Match(expected=expected, variant=variant, summary=joined, refused=difference, note=doubled)


def same_splits(matches: Sequence[Match], allow_mixed: bool) -> list[Match]:
    """Rows to compare, of one model and data: one whose split or data differ from most others' in a fold is refused."""
    votes: dict[int, Counter[Tested]] = {}
    for match in matches:
        for record in match.summary.records if match.summary else ():
            votes.setdefault(record.config["fold"], Counter())[_split(record)] += 1
    return [_with_split(match, votes, allow_mixed) for match in matches]


def _with_split(match: Match, votes: dict[int, Counter[Tested]], allow_mixed: bool) -> Match:
    for record in match.summary.records if match.summary else ():
        fold, own = record.config["fold"], _split(record)
        others = {split: count for split, count in votes[fold].items() if split != own}
        if others and max(others.values()) >= votes[fold][own]:
            other = max(sorted(others), key=lambda split: others[split])
            text = _other_split(fold, own, other)
            if allow_mixed:
                return replace(match, mixed="; ".join(filter(None, (match.mixed, text))))
            return replace(match, summary=None, refused="; ".join(filter(None, (match.refused, text))))
    return match


def _other_split(fold: int, own: Tested, other: Tested) -> str:
    pairs = zip(("split digest", "data content"), own, other, strict=True)
    return "; ".join(f"{name} of fold {fold}: {a[:8]}, in other rows {b[:8]}" for name, a, b in pairs if a != b)


def _split(record: RunRecord) -> Tested:
    return str(record.data["split"]), str(record.data["content"])


def _between(expected: Expected, summary: Summary, prefixes: tuple[str, ...]) -> list[str]:
    """The names of values in which a setting differs from the expected one; where the data lie and are is no such."""
    pair = [setting.comparable(expected.setting), setting.comparable(summary.setting)]
    return [key for key in setting.differing(pair) if key.startswith(prefixes)]


def _by_folds(summaries: Sequence[Summary]) -> list[Summary]:
    return sorted(summaries, key=lambda s: (-len(s.folds), s.variant, s.records[0].run_id))


def _nearest(expected: Expected, summaries: Sequence[Summary]) -> list[Summary]:
    """Settings of the experiment, first those with its own values of what decides no score after adaptation."""
    return sorted(_by_folds(summaries), key=lambda s: len(_aside(expected, s)))


def _aside(expected: Expected, summary: Summary) -> list[str]:
    """The names of values that decide no score after adaptation, where a setting has others than the experiment."""
    keys = setting.differing([expected.setting, summary.setting])
    return [key for key in keys if key in setting.ASIDE]


def _one_each(expected: Expected, summaries: Sequence[Summary]) -> tuple[list[RunRecord], str | None]:
    """A record of each fold, of the nearest setting that has it, and in words which others are there.

    Records of other data, or of a backbone from elsewhere, are no doubles: both stay, to be refused.
    """
    chosen: dict[tuple[int, str, str], RunRecord] = {}
    texts = []
    for s in _nearest(expected, summaries):
        places = {(r.config["fold"], r.data["content"], str(r.config["model"].get("source"))): r for r in s.records}
        doubled = [fold for fold, *_ in places.keys() & chosen.keys()]
        if doubled:
            texts.append(
                f"{_folds(sorted(doubled))} with {setting.shown(setting.only(s.setting, _aside(expected, s)))}"
            )
        chosen = places | chosen
    return list(chosen.values()), f"also run, and not in the row: {'; '.join(texts)}" if texts else None


def _elsewhere(expected: Expected, summary: Summary, lacking: Sequence[int]) -> str | None:
    """The missing folds that a summary of another setting has, and the difference."""
    folds = [fold for fold in summary.folds if fold in lacking]
    shown = setting.shown(setting.only(summary.setting, _between(expected, summary, ("",))))
    return f"{_folds(folds)} with {shown}" if folds else None


def _may_mix(expected: Expected, summary: Summary, lacking: Sequence[int]) -> bool:
    """It could be taken for a part of the row: other folds of the same mix of data."""
    keys = _between(expected, summary, ("",))
    return bool(set(summary.folds) & set(lacking)) and not any(key.startswith("data.") for key in keys)


def _filled(expected: Expected, summaries: Sequence[Summary], exact: int) -> Match:
    """The folds of the first summaries that have them."""
    chosen: dict[int, RunRecord] = {}
    texts = []
    for position, s in enumerate(summaries):
        new = [r for r in s.records if r.config["fold"] not in chosen]
        chosen |= {r.config["fold"]: r for r in new}
        if new and position >= exact:
            texts.append(_elsewhere(expected, s, [r.config["fold"] for r in new]))
    if not chosen:
        return Match(expected=expected)
    found = list(chosen.values())
    mixed = "; ".join(filter(None, (*texts, _mixing(found))))
    return Match(expected=expected, summary=_joined(expected, found), mixed=mixed or None)


def _joined(expected: Expected, records: Sequence[RunRecord]) -> Summary:
    model, method, data = expected.names
    ordered = tuple(sorted(records, key=lambda record: record.config["fold"]))
    return Summary(model=model, method=method, data=data, differing={}, records=ordered)


def _mixing(records: Sequence[RunRecord]) -> str | None:
    """How records differ in version, in the data's content, or in where the model came from; None if they do not."""
    texts = [_by_value("results version", [(record.config["fold"], str(record.results_version)) for record in records])]
    texts.append(_by_value("data content", [(record.config["fold"], record.data["content"]) for record in records]))
    sources = [(record.config["fold"], str(record.config["model"].get("source"))) for record in records]
    texts.append(_by_value("model.source", sources))
    return "; ".join(filter(None, texts)) or None


def _by_value(name: str, values: Sequence[tuple[int, str]]) -> str | None:
    """results version: 1 (folds 0, 1), 2 (fold 2)."""
    folds: dict[str, list[int]] = {}
    for fold, value in sorted(values):
        folds.setdefault(value, []).append(fold)
    if len(folds) < 2:
        return None
    return f"{name}: " + ", ".join(f"{value[:40]} ({_folds(of_value)})" for value, of_value in folds.items())


def _folds(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"
