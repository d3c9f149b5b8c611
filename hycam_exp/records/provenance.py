"""What made a record: the commit of the code, and the versions of the packages that decide results."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hycam_exp.records.record import Code

PACKAGE = Path(__file__).parents[1]
RECORDED_PACKAGES = (
    "torch", "pytorch-lightning", "transformers", "tokenizers", "peft", "hydra-core", "omegaconf", "sacrebleu",
    "rouge-score", "rapidfuzz", "regex", "numpy",
)  # fmt: skip


def provenance() -> Code:
    """The commit, and whether the checkout differs from it; None where there is no git."""
    root = PACKAGE.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    status = _git(root, "status", "--porcelain", "--", "hycam_exp", "data_prep", "conf") if commit else None
    return Code(commit=commit, dirty=None if status is None else bool(status))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def versions() -> Mapping[str, str]:
    """Python's and the deciding packages' versions."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
