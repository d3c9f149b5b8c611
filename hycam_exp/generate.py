"""`python -m hycam_exp.generate run=<run_id or folder> prompt="..."`: an answer from an adapted model.

Further: input="..." (what the instruction is about), max_new_tokens=N, outputs=DIR (where the run's folder is).
"""

import json
import sys
from pathlib import Path
from typing import Any

from hycam_exp.config.methods import method_named
from hycam_exp.config.settings import ModelSettings
from hycam_exp.models import files
from hycam_exp.models.backbone import Backbone, describe
from hycam_exp.models.load import load_model, weight_dtype
from hycam_exp.records.store import all_records_folders
from hycam_exp.runtime.command_line import as_errors, key_values, refuse
from hycam_exp.runtime.interruption import ended_by_signals
from hycam_exp.runtime.require import require

OPTIONS = {"run": "", "prompt": "", "input": "", "max_new_tokens": "128", "outputs": "outputs"}


def options(arguments: list[str]) -> dict[str, str]:
    """The command line's key=value pairs over the defaults.

    Raises:
        ValueError: a key is unknown, or run or prompt is missing.
    """
    chosen = key_values(arguments, OPTIONS)
    for key in ("run", "prompt"):
        require(bool(chosen[key]), key, chosen[key], f'is needed: {key}="..."')
    number = chosen["max_new_tokens"]
    require(number.isdecimal() and int(number) > 0, "max_new_tokens", number, "must be a positive whole number")
    return chosen


def adapter_folder(run: str, outputs: str) -> Path:
    """The saved adapter of a run, given its id, its folder, or the adapter's own folder."""
    candidates = [Path(run), Path(run) / "adapter", Path(outputs) / run / "adapter"]
    found = next((folder for folder in candidates if (folder / files.SETTINGS_FILE).is_file()), None)
    if found is None:
        recorded = any((of / f"{run}.json").is_file() for of in all_records_folders(Path("results")))
        again = f"; it has a record, and no adapter here: `python -m hycam_exp.report figures run={run}` says how to"
        raise ValueError(
            f"run={run}: no finished run there ({files.SETTINGS_FILE} looked for in {_listed(candidates)})"
            + (f"{again} train it again" if recorded else "")
        )
    return found


def _listed(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)


def adapted_model(folder: Path, settings: dict[str, Any]) -> tuple[Any, Backbone]:
    """The backbone with the run's adapter, or the fine-tuned model itself, ready to generate."""
    trained = method_named(settings["method"]["name"]).trains_backbone
    model_settings = ModelSettings(**settings["model"])
    if trained:
        saved = {"source": "folder", "path": str(folder), "architecture": None, "tokenizer": None}
        model_settings = ModelSettings(**{**settings["model"], **saved})
    backbone = describe(model_settings)
    model = load_model(backbone, weight_dtype(settings["recipe"]["precision"], trained), settings["seed"])
    if trained:
        return model, backbone
    from hycam_exp.methods import adapter_file  # registers with PEFT

    return adapter_file.load(model, folder), backbone


def answer(folder: Path, prompt: str, input: str, max_new_tokens: int) -> str:
    """The adapted model's greedy answer to an instruction, in the template it was trained with."""
    from hycam_exp.data.records import Record
    from hycam_exp.data.tokens import end_with, tokenise
    from hycam_exp.evaluation.generation import Decoder

    settings = json.loads((folder / files.SETTINGS_FILE).read_text())
    model, backbone = adapted_model(folder, settings)
    end_with(backbone.tokenizer, settings["data"].get("eos"))
    record = Record(task="", instruction=prompt, input=input, output="?", group="")
    rows, too_long = tokenise([record], backbone.tokenizer, settings["data"]["prompt"], settings["data"]["max_length"])
    if too_long:
        raise ValueError(
            f"prompt: longer than the {settings['data']['max_length']} tokens that the run was trained with"
        )
    decoder = Decoder(
        model=model,
        tokenizer=backbone.tokenizer,
        max_new_tokens=max_new_tokens,
        positions=backbone.positions,
        pad_id=backbone.pad_id,
    )
    return decoder.decode(rows)[0].text


@ended_by_signals()
def main(arguments: list[str]) -> None:
    """Print the answer, or one line about what is wrong."""
    if not arguments:
        refuse('run=... and prompt="..." are needed')
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        chosen = options(arguments)
        folder = adapter_folder(chosen["run"], chosen["outputs"])
        print(answer(folder, chosen["prompt"], chosen["input"], int(chosen["max_new_tokens"])))
    except ValueError as error:
        sys.exit(as_errors(error))


if __name__ == "__main__":
    main(sys.argv[1:])
