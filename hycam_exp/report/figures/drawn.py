"""What has been drawn of which records, so that a report draws again only what would come out otherwise."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hycam_exp.report.summary import Summary
from hycam_exp.runs import write_atomically

_SOURCES = Path(__file__).parents[1]


@dataclass
class Drawn:
    """A memory of figures in a file; a figure that was removed or changed on disk is forgotten."""

    path: Path
    runs: Path
    """The folder of the records' files."""
    _digests: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _entries(self) -> dict[str, Any]:
        if not self.path.is_file():
            return {}
        try:
            return dict(json.loads(self.path.read_bytes()))
        except ValueError:  # cut off: then everything is drawn once more
            return {}

    @cached_property
    def _code(self) -> str:
        sha = hashlib.sha256(version("matplotlib").encode())
        for path in sorted(_SOURCES.rglob("*.py")):
            sha.update(path.read_bytes())
        return sha.hexdigest()

    def _digest(self, members: Sequence[Summary]) -> str:
        """Of the records' files and the code that draws them."""
        ids = " ".join(record.run_id for summary in members for record in summary.records)
        if ids not in self._digests:
            sha = hashlib.sha256(self._code.encode())
            for run_id in ids.split():
                sha.update((self.runs / f"{run_id}.json").read_bytes())
            self._digests[ids] = sha.hexdigest()
        return self._digests[ids]

    def files(self, figure: str, members: Sequence[Summary], folder: Path) -> list[Path] | None:
        """The files of a figure if they are there as they would be drawn; None if it must be drawn."""
        entry = self._entries.get(figure)
        if entry is None or entry["records"] != self._digest(members):
            return None
        same = all(_hash(folder / name) == content for name, content in entry["files"].items())
        return [folder / name for name in entry["files"]] if same else None

    def keep(self, figure: str, members: Sequence[Summary], folder: Path, files: Sequence[Path]) -> None:
        """Remember a figure that was drawn, until `save` for this process alone."""
        contents = {str(path.relative_to(folder)): _hash(path) for path in files}
        self._entries[figure] = {"records": self._digest(members), "files": contents}

    def save(self) -> None:
        """Write the memory to its file."""
        write_atomically(self.path, json.dumps(self._entries, sort_keys=True).encode())


def _hash(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
