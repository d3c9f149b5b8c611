"""What made a record: commit and versions."""

import importlib.metadata
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.records import provenance as module
from hycam_exp.records.provenance import provenance, versions
from hycam_exp.records.record import Code


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout in place of ours."""
    for name in ("hycam_exp/cell.py", "hycam_exp/data/folds.py", "hycam_exp/records/printout.py", "data_prep/dolly.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "hycam_exp")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_provenance_is_commit_and_state(checkout: Path) -> None:
    """The commit, and whether a source differs from it; without git both are None."""
    assert provenance() == Code(commit=None, dirty=None)
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "first")
    (checkout / "notes.txt").write_text("beside the sources")
    expected = Code(commit=git(checkout, "rev-parse", "HEAD"), dirty=False)
    assert provenance() == expected
    (checkout / "data_prep" / "new.py").write_text("")
    assert provenance() == replace(expected, dirty=True)


def test_versions_are_the_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's version and each package's own; a package that is not installed is left out."""
    monkeypatch.setattr(module, "RECORDED_PACKAGES", ("torch", "no-such-package"))
    expected = {"python": platform.python_version(), "torch": importlib.metadata.version("torch")}
    assert versions() == expected
