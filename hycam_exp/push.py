"""`python -m hycam_exp.push run=<run_id or folder> repo=USER/NAME`: a run's adapter, uploaded to the model hub.

Further: private=true, outputs=DIR (where the run's folder is). Offline, and without a token of the hub, it lists what
it would upload and ends with status 1.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from hycam_exp.generate import adapter_folder
from hycam_exp.models import files
from hycam_exp.runtime.command_line import as_errors, key_values, refuse
from hycam_exp.runtime.interruption import ended_by_signals
from hycam_exp.runtime.require import require, require_one_of

OPTIONS = {"run": "", "repo": "", "private": "false", "outputs": "outputs"}
_BASE = re.compile(r"^(- )?base_model:.*\n", re.MULTILINE)  # of a card's metadata


def options(arguments: list[str]) -> dict[str, str]:
    """The command line's key=value pairs over the defaults.

    Raises:
        ValueError: a key is unknown, run or repo is missing, or repo is no name of the hub.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    chosen = key_values(arguments, OPTIONS)
    require(bool(chosen["run"]), "run", chosen["run"], "is needed: run=RUN_ID")
    require(chosen["repo"].count("/") == 1, "repo", chosen["repo"], "is needed: repo=USER/NAME")
    require_one_of(("true", "false"), "private", chosen["private"])
    try:
        validate_repo_id(chosen["repo"])
    except HFValidationError as error:
        raise ValueError(f"repo={chosen['repo']}: {error}") from error
    return chosen


def stage(adapter: Path, target: Path) -> list[Path]:
    """Copy what a stranger needs into `target`: no place of this machine is in it. Returns its files by name.

    A base model that is not of the hub is there by its name alone, and none in the card's metadata, which the hub would
    refuse.
    """
    settings = json.loads((adapter / files.SETTINGS_FILE).read_text(encoding="utf-8"))
    shutil.copytree(adapter, target, dirs_exist_ok=True, copy_function=_link)
    kept = {key: value for key, value in settings.items() if key not in ("paths", "logger", "trainer")}
    kept["data"] = {**settings["data"], "root": None}
    kept["model"] = {**settings["model"], "path": None, "retention_text": None}
    _replace(target / files.SETTINGS_FILE, json.dumps(kept, indent=1))
    config = target / "adapter_config.json"
    if settings["model"]["hub_id"] is None and config.is_file():
        base = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
        for path in (config, target / "README.md"):
            text = _BASE.sub("", path.read_text(encoding="utf-8"))
            _replace(path, text.replace(base, settings["model"]["name"]) if base else text)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _replace(path: Path, text: str) -> None:
    """Write a file anew: the one that was linked stays as it is."""
    path.unlink()
    path.write_text(text, encoding="utf-8")


def upload(folder: Path, repo: str, private: bool) -> str:
    """Upload a folder, and give the address of what the hub made of it.

    Raises:
        ValueError: the hub cannot be reached or refuses it.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        found = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload an adapter of hycam_exp")
    except Exception as error:  # the hub's errors share no base class across its versions
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"repo={repo}: {why}; the same command again uploads it") from error
    return str(found)


@ended_by_signals()
def main(arguments: list[str]) -> None:
    """Upload and print the address, or list what would be uploaded, or one line about what is wrong."""
    if not arguments:
        refuse("run=... and repo=... are needed")
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        chosen = options(arguments)
        with tempfile.TemporaryDirectory() as folder:
            for path in stage(adapter_folder(chosen["run"], chosen["outputs"]), Path(folder)):
                print(f"{path.relative_to(folder)}: {path.stat().st_size:,} bytes")
            _require_hub(chosen["repo"])
            print(upload(Path(folder), chosen["repo"], chosen["private"] == "true"))
    except ValueError as error:
        sys.exit(as_errors(error))


def _require_hub(repo: str) -> None:
    """Raise a `ValueError` where nothing can be uploaded: offline, or with no token."""
    from huggingface_hub import constants, get_token

    offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else None
    lacking = "there is no token of the hub (`hf auth login`, or HF_TOKEN)" if get_token() is None else None
    if why := offline or lacking:
        raise ValueError(f"repo={repo}: not uploaded, as {why}; the files above would be")


if __name__ == "__main__":
    main(sys.argv[1:])
