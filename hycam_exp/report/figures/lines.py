"""A line of a figure: one setting, with the runs that its mean and spread are over."""

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import yaml

from hycam_exp.report.figures.palette import METHODS, Look, looks_of, variant_look
from hycam_exp.report.select import Summary, summarise
from hycam_exp.report.setting import ASIDE, shown
from hycam_exp.runs import RunRecord

SWEPT = ("num_specialized", "tau")  # fields of a method that have a figure of their own
_LONGEST = 120  # characters of a file name: a file system takes 255 bytes
WITHIN = ("seed", *ASIDE)  # what runs of one line may differ in


@dataclass(frozen=True, kw_only=True)
class Line:
    """One setting's runs, over folds of one seed or over seeds of one fold."""

    method: str
    differing: Mapping[str, Any]
    """The values that set it apart from other settings of its method, without seed and swept fields."""
    tail: str
    """As much of them as tells it apart from the others in the figure."""
    look: Look
    records: tuple[RunRecord, ...]
    over: str
    """fold or seed: in what the records differ."""
    fewer: bool = False
    """Another line of the figure has more of them."""

    @property
    def variant(self) -> str:
        """What sets it apart, in full."""
        return shown(self.differing)

    @property
    def version(self) -> int:
        """The version of its runs' results."""
        (version,) = {record.results_version for record in self.records}
        return version

    def values(self, metric: str, task: str = "mean") -> list[float] | None:
        """The score of every run; None if one of them has none."""
        found = [record.score(metric, task) for record in self.records]
        known = [value for value in found if value is not None]
        return known if known and len(known) == len(found) else None

    @property
    def label(self) -> str:
        """What a reader sees."""
        name = f"{self.look.name}, {self.tail}" if self.tail else self.look.name
        return f"{name} ({basis([self])})" if self.fewer else name

    @property
    def file_name(self) -> str:
        """The method's name, and with it the variant's, fit for a file."""
        name = "-".join(part for part in (self.method, re.sub(r"[^\w.]+", "-", self.tail)) if part)
        return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def key(self) -> tuple[str, str]:
        """What it is called in the data."""
        return self.method, self.variant


Shown = Sequence[Line] | Mapping[Any, Mapping[Any, Line]]
"""All that a figure depends on, perhaps by what sets its lines apart; where nothing is shown, there is no figure."""


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample standard deviation; one run has a spread of nothing."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def basis(lines: Sequence[Line]) -> str:
    """What means and spreads are over: "5 folds", "3 to 5 folds", "5 folds or 3 seeds"."""
    counts: dict[str, list[int]] = {}
    for line in lines:
        counts.setdefault(line.over, []).append(len(line.records))
    ranges = {unit: " to ".join(map(str, sorted({min(of_unit), max(of_unit)}))) for unit, of_unit in counts.items()}
    return " or ".join(f"{ranges[unit]} {unit}{'' if ranges[unit] == '1' else 's'}" for unit in sorted(ranges))


def versions(lines: Sequence[Line]) -> str:
    """What must be said where the lines of a figure are not all of one version; else nothing."""
    found = {line.version for line in lines}
    return f"records of {len(found)} versions of the results: see the CSV" if len(found) > 1 else ""


def place(record: RunRecord) -> tuple[int, int, int]:
    """A run's fold, seed and version of the results."""
    return record.config["fold"], record.config["seed"], record.results_version


def over_folds(summaries: Sequence[Summary]) -> list[Line]:
    """A line for each setting: of its seeds, the one with the most folds."""
    return _lines(standard(summaries), _of_one_seed)


def scored(summaries: Sequence[Summary]) -> list[Line]:
    """Of `over_folds`, the lines whose every run has a perplexity."""
    return [line for line in over_folds(summaries) if line.values("ppl")]


def over_seeds(summaries: Sequence[Summary]) -> list[Line]:
    """A line for each setting with several seeds, all of one fold: that of most runs."""
    kept = standard(summaries)
    runs = [record for summary in kept for record in summary.records]
    folds = Counter(record.config["fold"] for record in runs)
    fold = min(folds, key=lambda fold: (-folds[fold], fold), default=0)

    def choose(records: Sequence[RunRecord]) -> tuple[list[RunRecord], str]:
        return _fullest([record for record in records if record.config["fold"] == fold], "fold", "seed"), "seed"

    return [line for line in _lines(kept, choose) if len(line.records) > 1]


def swept(summaries: Sequence[Summary]) -> Line:
    """The one line of summaries that differ in their seed at most, as `over_folds`."""
    (line,) = _lines(summaries, _of_one_seed)
    return line


def _of_one_seed(records: Iterable[RunRecord]) -> tuple[list[RunRecord], str]:
    return _fullest(records, "seed", "fold"), "fold"


def _fullest(records: Iterable[RunRecord], held: str, over: str) -> list[RunRecord]:
    """The runs, one each, that share the value of `held` and the version which most runs have, in order of `over`."""
    groups: dict[tuple[int, int], dict[int, RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.run_id):
        groups.setdefault((record.config[held], record.results_version), {}).setdefault(record.config[over], record)
    chosen = min(groups, key=lambda key: (-len(groups[key]), key), default=None)
    return [groups[chosen][value] for value in sorted(groups[chosen])] if chosen else []


def _lines(
    summaries: Sequence[Summary], choose: Callable[[Sequence[RunRecord]], tuple[list[RunRecord], str]]
) -> list[Line]:
    """A line for each method and variant, seeds and swept fields apart."""
    looks = looks_of([summary.method for summary in summaries], METHODS)
    settings: dict[str, dict[str, Mapping[str, Any]]] = {}
    members: dict[tuple[str, str], list[RunRecord]] = {}
    for summary in summaries:
        differing = without(summary.differing, *WITHIN, *map(of_method, SWEPT))
        settings.setdefault(summary.method, {})[shown(differing)] = differing
        members.setdefault((summary.method, shown(differing)), []).extend(summary.records)
    found = []
    for method in sorted(settings, key=_rank):
        variants = sorted(settings[method])
        tails = short([settings[method][variant] for variant in variants])
        for index, (variant, tail) in enumerate(zip(variants, tails, strict=True)):
            chosen, over = choose(members[method, variant])
            found.append(
                Line(
                    method=method, differing=settings[method][variant], tail=tail,
                    look=variant_look(looks[method], index), records=tuple(chosen), over=over,
                )
            )  # fmt: skip
    most = {line.over: max(len(other.records) for other in found if other.over == line.over) for line in found}
    return [replace(line, fewer=len(line.records) < most[line.over]) for line in found]


def _rank(method: str) -> tuple[int, str]:
    order = list(METHODS)
    return (order.index(method) if method in order else len(order)), method


def without(differing: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The values of a setting less some."""
    return {key: value for key, value in differing.items() if key not in keys}


def of_method(field: str) -> str:
    """The dotted name of a method's field."""
    return f"method.{field}"


def _field(key: str) -> str:
    """A dotted name without its group."""
    return key.rpartition(".")[2]


def short(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """As little of each setting's values as tells them apart, in words; in full where their fields alone do not."""
    for number in range(1, max(map(len, settings), default=0) + 1):
        leading = [list(differing.items())[:number] for differing in settings]
        labels = [", ".join(shown({_field(key): value}) for key, value in pairs) for pairs in leading]
        if len(set(labels)) == len(labels):
            return labels
    return [shown(differing) for differing in settings]


def standard(summaries: Sequence[Summary]) -> list[Summary]:
    """Without the settings that a sweep of N_s or tau, or a switch to the released code, added."""
    return own(summaries, *SWEPT, *_switched())


def unswitched(summaries: Sequence[Summary]) -> list[Summary]:
    """Without the settings that a switch to the released code added: those have a table of their own."""
    return own(summaries, *_switched())


def own(summaries: Sequence[Summary], *fields: str) -> list[Summary]:
    """Of a method that was run with several values of a field, the settings with the method's own, named anew."""
    several = {
        (s.model, s.data, s.method) for s in summaries for field in fields if _takes_several(summaries, s, field)
    }
    values = {method: _own_values(method) for method in {method for *_, method in several}}
    kept = [
        summary
        for summary in summaries
        if (summary.model, summary.data, summary.method) not in several
        or all(setting(summary, f) in (None, values[summary.method][f]) for f in fields if f in values[summary.method])
    ]
    return summarise(record for summary in kept for record in summary.records)


def setting(summary: Summary, field: str) -> Any:
    """The value of a method's field; None where the method has none."""
    return summary.records[0].config["method"].get(field)


def _takes_several(summaries: Sequence[Summary], like: Summary, field: str) -> bool:
    alike = [s for s in summaries if (s.model, s.data, s.method) == (like.model, like.data, like.method)]
    return any(setting(summary, field) != setting(like, field) for summary in alike)


@cache
def _switched() -> tuple[str, ...]:
    """The fields of a method that a file of conf/released sets."""
    from hycam_exp.config import config_dir

    files = sorted((config_dir() / "released").glob("*.yaml"))
    return tuple(dict.fromkeys(field for path in files for field in yaml.safe_load(path.read_text(encoding="utf-8"))))


@cache
def _own_values(method: str) -> dict[str, Any]:
    """What the method's file in conf/ gives its fields; nothing for a method without one."""
    from hycam_exp.config import config_dir
    from hycam_exp.grid import Composer

    if not (config_dir() / "method" / f"{method}.yaml").is_file():
        return {}
    (run,) = Composer()([[f"method={method}"]])
    return asdict(run.method)
