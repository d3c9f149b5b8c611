"""Records that differ in their fold alone, together: mean and spread of every score over folds."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hycam_exp.config import NUM_FOLDS
from hycam_exp.report import setting
from hycam_exp.runs import RunRecord


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The cells of one setting over its folds."""

    model: str
    method: str
    data: str
    differing: Mapping[str, Any]
    """The values that set it apart from other settings of the same model, method and data: those that are not what at
    least half of their records have; empty for the usual setting. No two settings have the same."""
    records: tuple[RunRecord, ...]
    """In the order of their folds."""

    @property
    def variant(self) -> str:
        """What sets it apart, in words."""
        return setting.shown(self.differing)

    @property
    def folds(self) -> tuple[int, ...]:
        return tuple(record.config["fold"] for record in self.records)

    @property
    def label(self) -> str:
        """The method, with what sets this setting of it apart."""
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def is_complete(self) -> bool:
        """All folds are there."""
        return self.folds == tuple(range(NUM_FOLDS))

    @cached_property
    def setting(self) -> dict[str, Any]:
        """The values that its records share and that decide their scores."""
        return _setting(self.records[0])

    def values(self, metric: str, task: str = "mean") -> list[float | None]:
        """A score of every fold."""
        return [record.score(metric, task) for record in self.records]

    def mean(self, metric: str, task: str = "mean") -> float | None:
        """The mean over folds; None if a fold has no such score."""
        return mean_of(self.values(metric, task))

    def spread(self, metric: str, task: str = "mean") -> float | None:
        """The sample standard deviation over folds; None for fewer than two."""
        return spread_of(self.values(metric, task))

    @property
    def versions(self) -> set[int]:
        """The versions of its results: more than one, and they are not comparable."""
        return {record.results_version for record in self.records}


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is absent or there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def spread_of(values: Sequence[float | None]) -> float | None:
    """The sample standard deviation; None if a value is absent or there are fewer than two."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 and len(known) == len(values) else None


def summarise(records: Iterable[RunRecord]) -> list[Summary]:
    """The settings, by model, data, method and variant."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(json.dumps(_setting(record), sort_keys=True), []).append(record)
    named: dict[tuple[str, ...], list[list[RunRecord]]] = {}
    for group in groups.values():
        named.setdefault(_name(group[0]), []).append(sorted(group, key=lambda record: record.config["fold"]))
    return [
        Summary(model=name[0], data=name[1], method=name[2], differing=values, records=tuple(group))
        for name, alike in sorted(named.items())
        for values, group in sorted(zip(_differing(alike), alike, strict=True), key=lambda p: setting.shown(p[0]))
    ]


def _name(record: RunRecord) -> tuple[str, str, str]:
    config = record.config
    return config["model"]["name"], config["data"]["name"], config["method"]["name"]


def _setting(record: RunRecord) -> dict[str, Any]:
    return setting.decisive(record.config, record.data["content"])


def _differing(groups: Sequence[Sequence[RunRecord]]) -> list[setting.Setting]:
    """For each of several settings of one name the values that are not the usual ones; None for what it lacks."""
    settings: list[setting.Setting] = [_setting(group[0]) for group in groups]
    keys = setting.differing(settings)
    usual = {key: _usual(key, settings, groups) for key in keys}
    return [
        {key: value for key, value in setting.only(values, keys).items() if json.dumps(value) != usual[key]}
        for values in settings
    ]


def _usual(key: str, settings: Sequence[setting.Setting], groups: Sequence[Sequence[RunRecord]]) -> str | None:
    """The value, as JSON, that at least half of the records have, and no other so many; None where there is none."""
    counts: Counter[str] = Counter()
    for values, group in zip(settings, groups, strict=True):
        counts[json.dumps(values.get(key))] += len(group)
    (value, count), *others = counts.most_common(2)
    return value if 2 * count >= counts.total() and all(other < count for _, other in others) else None
