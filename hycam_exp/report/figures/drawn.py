"""What has been drawn of which records, so that a report draws again only what would come out otherwise."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hycam_exp.report.figures.lines import Line, Shown
from hycam_exp.runs import write_atomically

_SOURCES = Path(__file__).parents[1]


@dataclass
class Drawn:
    """A memory of figures in a file; a figure that was removed or changed on disk is forgotten."""

    path: Path
    runs: Path
    """The folder of the records' files."""
    _records: dict[str, str] = field(default_factory=dict)
    """A digest of each record's file."""

    @cached_property
    def _entries(self) -> dict[str, Any]:
        """The figures that this code has drawn; none where the file was cut off."""
        try:
            held = json.loads(self.path.read_bytes()) if self.path.is_file() else {}
            return dict(held["figures"]) if held["code"] == self._code else {}
        except (ValueError, TypeError, KeyError):
            return {}

    @cached_property
    def _code(self) -> str:
        sha = hashlib.sha256(version("matplotlib").encode())
        for path in sorted(_SOURCES.rglob("*.py")):
            sha.update(path.read_bytes())
        return sha.hexdigest()

    def _digest(self, shown: Shown) -> str:
        """Of what is shown, and its records' files."""
        sha = hashlib.sha256()
        for part in self._parts(shown):
            sha.update(part.encode() + b"\0")
        return sha.hexdigest()

    def _parts(self, shown: Any) -> Iterator[str]:
        if isinstance(shown, Mapping):
            for key, inner in shown.items():
                yield from (repr(key), *self._parts(inner))
        elif isinstance(shown, Line):
            yield from (repr(replace(shown, records=())), *(self._record(record.run_id) for record in shown.records))
        else:
            for line in shown:
                yield from self._parts(line)

    def _record(self, run_id: str) -> str:
        if run_id not in self._records:
            self._records[run_id] = hashlib.sha256((self.runs / f"{run_id}.json").read_bytes()).hexdigest()
        return self._records[run_id]

    def files(self, figure: str, shown: Shown, folder: Path) -> list[Path] | None:
        """The files of a figure if they are there as they would be drawn; None if it must be drawn."""
        entry = self._entries.get(figure)
        if entry is None or entry["shown"] != self._digest(shown):
            return None
        same = all(_hash(folder / name) == content for name, content in entry["files"])
        return [folder / name for name, _ in entry["files"]] if same else None

    def keep(self, figure: str, shown: Shown, folder: Path, files: Sequence[Path]) -> None:
        """Remember a figure that was drawn, until `save` for this process alone."""
        contents = [(str(path.relative_to(folder)), _hash(path)) for path in files]  # in the order of the page
        self._entries[figure] = {"shown": self._digest(shown), "files": contents}

    def save(self) -> None:
        """Write the memory to its file."""
        write_atomically(self.path, json.dumps({"code": self._code, "figures": self._entries}, sort_keys=True).encode())


def _hash(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
