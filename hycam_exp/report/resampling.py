"""The bootstrap between two settings, remembered between reports for as long as their samples files are the same.

Resampling(Path("results"), kept / "bootstrap.json").compare(hycam, lora, "ppl", "mean")
"""

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report import bootstrap, samples_file, statistics
from hycam_exp.report.bootstrap import Resampled, resample_settings
from hycam_exp.report.records import Problem
from hycam_exp.report.summary import Summary
from hycam_exp.runs import Store, write_atomically

Scores = dict[str, dict[str, Any] | None]
"""What two settings gave, by task and metric."""


@dataclass
class Resampling:
    """Paired resamples of the test samples of settings; what was asked for is kept by `save`."""

    results: Path
    """Holds runs/."""
    path: Path | None = None
    """The file that remembers; None for none."""
    resamples: int = bootstrap.RESAMPLES
    problems: list[Problem] = field(default_factory=list)
    """Settings whose samples cannot be compared."""
    _asked: set[str] = field(default_factory=set)
    _files: dict[Path, str] = field(default_factory=dict)
    """A digest of each samples file."""

    def compare(
        self, ours: Summary, other: Summary, metric: str, task: str, rivals: Sequence[Summary] = ()
    ) -> Resampled | None:
        """One setting against another; None where a run has no samples file, or the score is not defined in a draw.

        What else ours may be compared with is made on the same draws, which take most of the time.
        """
        key = self._key(ours, other)
        if key is None:
            return None
        if key not in self._scores:
            keys = {rival.label: self._key(ours, rival) for rival in rivals}
            unknown = [r for r in rivals if r is not other and keys[r.label] not in {None, *self._scores}]
            self._make(ours, [other, *unknown])
        self._asked.add(key)
        found = self._scores[key].get(f"{task} {metric}")
        return None if found is None else Resampled(**{**found, "interval": tuple(found["interval"])})

    def save(self) -> None:
        """Keep what was asked for, where that is not what is kept already."""
        asked = {key: self._scores[key] for key in self._asked if self._scores[key]}  # a fault is told every time
        if self.path and asked != self._held:
            text = json.dumps({"code": self._code, "settings": asked}, sort_keys=True)
            write_atomically(self.path, text.encode())

    def _make(self, ours: Summary, others: Sequence[Summary]) -> None:
        try:
            drawn = resample_settings([ours, *others], self.results, self.resamples)
        except ValueError as error:
            self._make_first(ours, others, error)
            return
        places = [(task, metric) for task in drawn.tasks for metric in SCORES]
        for index, other in enumerate(others, start=1):
            key = self._key(ours, other)
            assert key is not None, "its files have just been read"
            found = {place: drawn.compare(0, index, place[1], place[0]) for place in places}
            self._scores[key] = {f"{task} {metric}": _plain(resampled) for (task, metric), resampled in found.items()}

    def _make_first(self, ours: Summary, others: Sequence[Summary], error: ValueError) -> None:
        """The first of several without the rest, any of which may be what is wrong; of it alone the fault is told."""
        if len(others) > 1:
            self._make(ours, others[:1])
            return
        place = f"{ours.model} x {ours.label} against {others[0].label}"
        self.problems.append(Problem(place, f"no bootstrap: {error}"))
        key = self._key(ours, others[0])
        assert key is not None, "asked for before"
        self._scores[key] = {}

    def _key(self, ours: Summary, other: Summary) -> str | None:
        """Of the samples files in the order of settings and folds; None where one is not there."""
        paths = [self._store.samples_path(r.run_id) for summary in (ours, other) for r in summary.records]
        if not all(path.is_file() for path in paths):
            return None
        for path in paths:
            if path not in self._files:
                self._files[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashlib.sha256(" ".join(self._files[path] for path in paths).encode()).hexdigest()

    @cached_property
    def _scores(self) -> dict[str, Scores]:
        """What is kept, and what was made since."""
        return dict(self._held)

    @cached_property
    def _store(self) -> Store:
        return Store(self.results, self.results)

    @cached_property
    def _held(self) -> dict[str, Scores]:
        """What this code kept; nothing where the file was cut off."""
        try:
            held = json.loads(self.path.read_bytes()) if self.path and self.path.is_file() else {}
            return dict(held["settings"]) if held["code"] == self._code else {}
        except (ValueError, TypeError, KeyError):
            return {}

    @cached_property
    def _code(self) -> str:
        sha = hashlib.sha256(f"{version('numpy')} {self.resamples}".encode())
        for module in (bootstrap, samples_file, statistics):
            sha.update(inspect.getsource(module).encode())
        return sha.hexdigest()


def _plain(resampled: Resampled | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if resampled is None:
        return None
    return {**asdict(resampled), "interval": list(resampled.interval)}
