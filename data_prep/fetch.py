"""The five sets and WikiText-2 from the Hugging Face hub: pinned revisions, checksums, resumed downloads.

A file is verified before it takes its place. Where nobody could confirm a checksum beforehand, the one found is kept
in fetch.lock beside the data and holds from then on.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep import folders, manifest, tasks

LOCK = "fetch.lock"
PARTIAL = ".fetch"
HUB_TIMEOUT = 10  # seconds


class Unreachable(Exception):
    """The hub does not answer at all."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """One file on the hub, at one revision, and where it goes."""

    repo: str
    revision: str
    file: str
    sha256: str | None
    """Of what is kept; None where it could not be confirmed."""
    folder: str
    saved_as: str
    member: str | None = None
    """The file to keep out of a zip archive."""

    @property
    def url(self) -> str:
        """Where a person gets the file."""
        return f"https://huggingface.co/datasets/{self.repo}/resolve/{self.revision}/{self.file}"


# Revisions and checksums as the hub's own pages of these files (tree, blob or commit) show them.
REMOTES = {
    "auto_cot": Remote(
        repo="QingyiSi/Alpaca-CoT",
        revision="0244a178e7e4e6b5b012028dea1590ba62e896b9",
        file="Auto-CoT/Auto-CoT.json",
        sha256="21dc33ab842212cfad2b3afdc33017d82a675ee992284a80d1f5e756f4a98340",
        folder="auto_cot",
        saved_as="Auto-CoT.json",
    ),
    "icliniq": Remote(  # lavita/ChatDoctor-iCliniq's 7,321 rows, in lavita's collection with a known checksum
        repo="lavita/medical-qa-datasets",
        revision="50249133c4f7bff67963b2237f4c486efa0d2f72",
        file="chatdoctor-icliniq/test-00000-of-00001-e85a5978cd03c7b2.parquet",
        sha256="00702ac5b5677b3669f8cac46576af983c1513de43866879e4fe443ef2e5fefb",
        folder="icliniq",
        saved_as="iCliniq.parquet",
    ),
    "dolly": Remote(
        repo="databricks/databricks-dolly-15k",
        revision="bdd27f4d94b9c1f951818a7da7fd7aeea5dbff1a",
        file="databricks-dolly-15k.jsonl",
        sha256="2df9083338b4abd6bceb5635764dab5d833b393b55759dffb0959b6fcbf794ec",
        folder="dolly",
        saved_as="databricks-dolly-15k.jsonl",
    ),
    "code_alpaca": Remote(
        repo="sahil2801/CodeAlpaca-20k",
        revision="152bb5e9a29651266b018106053980070a0521a1",
        file="code_alpaca_20k.json",
        sha256=None,
        folder="code_alpaca",
        saved_as="code_alpaca_20k.json",
    ),
    "web_gpt": Remote(  # the conversion that the paper's authors took; openai/webgpt_comparisons holds a script only
        repo="QingyiSi/Alpaca-CoT",
        revision="b69f35b6bb2cf25762aa3b07e3e26487c69d56fe",
        file="webGPT/webGPT.json",
        sha256="c8190a4b63785ad57d34f3ee299f39b0194b5299c76c9e9ebacde7c6003e5d27",
        folder="web_gpt",
        saved_as="webGPT.json",
    ),
    "retention": Remote(
        repo="ggml-org/ci",
        revision="927b3642933080f1b0e811e2f916e14c292992f9",
        file="wikitext-2-raw-v1.zip",
        member="wikitext-2-raw/wiki.test.raw",
        sha256="173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
        folder="retention",
        saved_as="wikitext-2-test.txt",
    ),
}


def download(remote: Remote, partial: Path) -> Path:
    """The file from the hub; what an interrupted download left in `partial` is gone on with.

    Raises:
        Unreachable: the hub does not answer.
        ValueError: it does not give the file.
    """
    from huggingface_hub import HfApi, hf_hub_download

    try:
        HfApi().dataset_info(remote.repo, revision=remote.revision, timeout=HUB_TIMEOUT)
        path = hf_hub_download(
            remote.repo, remote.file, repo_type="dataset", revision=remote.revision, local_dir=str(partial)
        )
    except PermissionError:
        raise
    except Exception as error:  # the hub's errors share no base class across its versions
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise (ValueError if getattr(error, "response", None) is not None else Unreachable)(reason) from error
    return Path(path)


def fetch(
    names: Iterable[str], root: Path, say: Callable[[str], None], get: Callable[[Remote, Path], Path] | None = None
) -> int:
    """Fetch the named sets into `root`; returns how many are missing in the end, each said in a line."""
    missing, offline = 0, None
    for name in names:
        remote = REMOTES[name]
        try:
            say(f"{name}: {_fetched(name, remote, root, offline, get or download)}")
        except Unreachable as error:
            missing, offline = missing + 1, str(error)
            say(_by_hand(name, remote, root, f"the hub cannot be reached ({error})"))
        except (ValueError, OSError) as error:
            missing += 1
            say(_by_hand(name, remote, root, str(error)))
    return missing


def target(remote: Remote, root: Path) -> Path:
    """Where a set's file goes: in the folder that the task has already, under whichever of its names."""
    known = folders.folder_of(remote.folder, root) if remote.folder in tasks.TASKS else None
    return (known or root / remote.folder) / remote.saved_as


def _by_hand(name: str, remote: Remote, root: Path, reason: str) -> str:
    what = f"{remote.member} of {remote.url}" if remote.member else remote.url
    return f"{name}: missing: {reason}; by hand: put {what} at {target(remote, root)} and run fetch again"


def _fetched(name: str, remote: Remote, root: Path, offline: str | None, get: Callable[[Remote, Path], Path]) -> str:
    """Have the file in its place, verified; returns what was done."""
    place = target(remote, root)
    if place.is_file():
        return f"{place} is there, {_verified(name, remote, root, place, place)}"
    if offline:
        raise Unreachable(offline)
    partial = root / PARTIAL / name
    partial.mkdir(parents=True, exist_ok=True)
    found = _unpacked(remote, get(remote, partial), partial)
    try:
        verdict = _verified(name, remote, root, found, place)
    except ValueError:
        shutil.rmtree(partial)  # what was downloaded is wrong: going on with it would never end
        raise
    place.parent.mkdir(parents=True, exist_ok=True)
    found.replace(place)
    shutil.rmtree(partial)
    if not any((root / PARTIAL).iterdir()):
        (root / PARTIAL).rmdir()
    return f"{place} fetched, {verdict}"


def _unpacked(remote: Remote, path: Path, partial: Path) -> Path:
    if remote.member is None:
        return path
    kept = partial / remote.saved_as
    try:
        with zipfile.ZipFile(path) as archive:
            kept.write_bytes(archive.read(remote.member))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{remote.file} is no archive with {remote.member} in it: {error}") from error
    return kept


def _locks(root: Path) -> dict[str, dict[str, str]]:
    path = root / LOCK
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _verified(name: str, remote: Remote, root: Path, path: Path, place: Path) -> str:
    """Check a file against its pinned or recorded checksum; without either, record the one it has.

    Raises:
        ValueError: it is another file.
    """
    found, locks = manifest.sha256(path), _locks(root)
    pinned = remote.sha256 or locks.get(name, {}).get("sha256")
    if pinned is None:
        entry = {"repo": remote.repo, "revision": remote.revision, "file": remote.file, "sha256": found}
        manifest.write(root / LOCK, (json.dumps(locks | {name: entry}, indent=1, sort_keys=True) + "\n").encode())
        return f"not verified: no checksum is known; {found[:12]}... is in {root / LOCK} and holds from now on"
    if found != pinned:
        raise ValueError(f"{place} is another file: SHA-256 {found}, not {pinned}; move it away to fetch it again")
    return f"SHA-256 {found[:12]}... as {'pinned' if remote.sha256 else 'recorded'}"
