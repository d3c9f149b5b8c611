"""Cells that are small scripts, and a grid of them on SLURM or this machine: what the tests of SLURM share."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from hycam_exp.config.compose import compose, config_dir
from hycam_exp.launch.slurm import SlurmGrid, SlurmJob
from hycam_exp.launch.slurm_queue import Request

FIELDS: dict[str, Any] = yaml.safe_load((config_dir() / "hydra" / "launcher" / "slurm.yaml").read_text())
del FIELDS["_target_"]
FIELDS["sbatch"] = {}  # as the launcher makes of the file's null
GATE = "import time, pathlib\nwhile not pathlib.Path('%(folder)s/go').exists(): time.sleep(0.02)\n"


@dataclass
class Scripted(SlurmJob):
    """A cell that is the given script."""

    script: str = ""

    @property
    def command(self) -> list[str]:
        folder = Path(self.run.paths.outputs).parent
        return [sys.executable, "-c", self.script % {"folder": folder, "run_id": self.run_id}]


def job(folder: Path, run_id: str, script: str, **changes: object) -> Scripted:
    overrides = [f"paths.results={folder / 'results'}", f"paths.outputs={folder / 'outputs'}"]
    run = compose(*overrides, *(f"{key}={value}" for key, value in changes.items()))
    return Scripted([], run, run_id, script=script)


def grid(folder: Path, *jobs: SlurmJob, **changes: object) -> SlurmGrid:
    fields = {**FIELDS, "folder": str(folder / "submitit"), **changes}
    own = {name: fields.pop(name) for name in ("nodes", "gpus_per_node", "wait")}
    console = Console(width=200, file=io.StringIO())
    return SlurmGrid(list(jobs), Request(**fields), **own, console=console)


def printed(found: SlurmGrid) -> str:
    assert isinstance(found.console.file, io.StringIO)
    return found.console.file.getvalue()
