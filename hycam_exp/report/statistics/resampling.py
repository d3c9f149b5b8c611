"""The bootstrap between two settings, remembered between reports for as long as their samples files are the same.

Resampling(Path("results"), kept / "bootstrap.json").compare(hycam, lora, "ppl", "mean")
"""

import hashlib
import inspect
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report import samples as samples_file
from hycam_exp.report.frame import Problem
from hycam_exp.report.select import Summary
from hycam_exp.report.statistics import bootstrap
from hycam_exp.report.statistics import significance as statistics
from hycam_exp.report.statistics.bootstrap import Resampled, resample_settings
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
    _asked: dict[str, Scores] = field(default_factory=dict)
    _files: dict[Path, str] = field(default_factory=dict)
    """A digest of each samples file."""

    def compare(self, ours: Summary, other: Summary, metric: str, task: str) -> Resampled | None:
        """One setting against another; None where a run has no samples file, or the score is not defined in a draw."""
        paths = [self._store.samples_path(r.run_id) for summary in (ours, other) for r in summary.records]
        if not all(path.is_file() for path in paths):
            return None
        key = self._key(paths)
        if key not in self._asked:
            held = self._held.get(key)
            self._asked[key] = self._made(ours, other) if held is None else held
        found = self._asked[key].get(f"{task} {metric}")
        return None if found is None else Resampled(**{**found, "interval": tuple(found["interval"])})

    def save(self) -> None:
        """Keep what was asked for, where that is not what is kept already."""
        made = {key: scores for key, scores in self._asked.items() if scores}  # a fault is told every time
        if self.path and made != self._held:
            text = json.dumps({"code": self._code, "settings": made}, sort_keys=True)
            write_atomically(self.path, text.encode())

    def _made(self, ours: Summary, other: Summary) -> Scores:
        try:
            drawn = resample_settings([ours, other], self.results, self.resamples)
        except ValueError as error:
            self.problems.append(
                Problem(f"{ours.model} x {ours.label} against {other.label}", f"no bootstrap: {error}")
            )
            return {}
        places = [(task, metric) for task in drawn.tasks for metric in SCORES]
        found = {(task, metric): drawn.compare(0, 1, metric, task) for task, metric in places}
        return {f"{task} {metric}": _plain(resampled) for (task, metric), resampled in found.items()}

    def _key(self, paths: list[Path]) -> str:
        """Of the samples files in the order of settings and folds."""
        for path in paths:
            if path not in self._files:
                self._files[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashlib.sha256(" ".join(self._files[path] for path in paths).encode()).hexdigest()

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
