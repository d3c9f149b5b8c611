"""The cache of a report: what is slow to make and follows from files alone, kept until conf/ or a source changes.

Cache(Path("outputs/report")).get("settings", "mini", make)  # made once, then read from cache.json
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hycam_exp.config.compose import config_dir
from hycam_exp.records.provenance import PACKAGE
from hycam_exp.runtime.files import write_atomically


class Cache:
    """JSON values by section and key; a key has hashes of the contents that a value follows from."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / "cache.json" if folder else None
        self._code = code_digest(config_dir(), PACKAGE) if folder else ""
        self._held = _read(self.path, self._code) if self.path else {}
        self._is_changed = False

    def get(self, section: str, key: str, make: Callable[[], Any]) -> Any:
        """The value of a key, made where it is not known yet."""
        held = self._held.setdefault(section, {})
        if key not in held:
            self.put(section, key, make())
        return held[key]

    def put(self, section: str, key: str, value: Any) -> None:
        """Remember a value, as JSON gives it back."""
        self._held.setdefault(section, {})[key] = json.loads(json.dumps(value))
        self._is_changed = True

    def held(self, section: str, key: str) -> Any:
        """The value of a key; None where it is not known."""
        return self._held.get(section, {}).get(key)

    def save(self) -> None:
        """Write what is new to the file."""
        if self.path and self._is_changed:
            text = json.dumps({"code": self._code, "sections": self._held}, sort_keys=True)
            write_atomically(self.path, text.encode())
            self._is_changed = False


def kept_in(outputs: Path) -> Cache:
    """The cache in a folder of outputs, which is there from now on.

    Raises:
        ValueError: the folder cannot be made.
    """
    folder = outputs / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--outputs={outputs}: {folder} cannot be made ({error.strerror})") from error
    return Cache(folder)


def held_in(outputs: Path) -> Cache:
    """The cache in a folder of outputs if a report has made it; else one that is kept nowhere."""
    folder = outputs / "report"
    return Cache(folder if folder.is_dir() else None)


def digest(path: Path) -> str:
    """A hash of a file's content; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def code_digest(conf: Path, package: Path) -> str:
    """A hash of conf/, of all sources, and of the versions of what draws and counts."""
    sha = hashlib.sha256(" ".join(map(version, ("numpy", "matplotlib", "pandas"))).encode())
    for root, pattern in ((conf, "*.yaml"), (package, "*.py")):
        for path in sorted(root.rglob(pattern)):
            sha.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()[:16]


def _read(path: Path, code: str) -> dict[str, dict[str, Any]]:
    """What a file holds; nothing where it is not there, not whole or of other sources, so that it is made again."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return dict(held["sections"]) if held["code"] == code else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
