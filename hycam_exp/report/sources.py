"""Where records lie and what is made of them goes: each study of results/studies by itself, and the user's own runs.

sources(Path("results"))[0].out  # results/studies/mini
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hycam_exp.records.store import records_folder
from hycam_exp.runtime.command_line import key_values
from hycam_exp.runtime.require import require_plain_name


@dataclass(frozen=True)
class RecordSource:
    """A folder of records, and the folder of what is made of them: a study's, or the user's own."""

    records: Path
    out: Path
    """The folder that gets tables/, figures/ and report.html."""

    @classmethod
    def own(cls, results: Path) -> "RecordSource":
        """The user's own runs."""
        return cls(records_folder(results, None), results / "report")

    @classmethod
    def study(cls, results: Path, name: str) -> "RecordSource":
        """A study's records.

        Raises:
            ValueError: there is no such study; names those that there are.
        """
        require_plain_name("study", name)
        folder = records_folder(results, name)
        if not folder.is_dir():
            there = ", ".join(path.name for path in _studies(results)) or "none"
            raise ValueError(f"study={name}: no folder {folder}; the studies there are: {there}")
        return cls(folder, folder.parent)

    def record(self, run_id: str) -> Path:
        """The file of a run's record."""
        return self.records / f"{run_id}.json"

    def samples(self, run_id: str) -> Path:
        """The file of a run's test samples, which may not be there."""
        return self.records / f"{run_id}.samples.parquet"


def _studies(results: Path) -> list[Path]:
    return sorted(path.parent for path in (results / "studies").glob("*/records") if path.is_dir())


def sources(results: Path) -> list[RecordSource]:
    """Every study of a results folder, and the user's own runs where there are any; never in one frame. Of a study's
    folder it is that study."""
    if (results / "records").is_dir():
        return [RecordSource(results / "records", results)]
    own = RecordSource.own(results)
    studies = [RecordSource.study(results, folder.name) for folder in _studies(results)]
    return [*studies, own] if any(own.records.glob("*.json")) or not studies else studies


def chosen_sources(results: Path, words: Sequence[str]) -> list[RecordSource]:
    """All sources of a results folder, or with study=NAME among the words of a command line that study's alone.

    Raises:
        ValueError: there is no such study, or a word is something else.
    """
    study = key_values(words, {"study": ""})["study"]
    return [RecordSource.study(results, study)] if study else sources(results)
