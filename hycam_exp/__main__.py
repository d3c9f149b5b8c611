"""`python -m hycam_exp [overrides]`, or `hycam-exp`: composes the config and hands one cell over."""

import os
import runpy
import sys
import warnings

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hycam_exp.config.compose import config_dir, read
from hycam_exp.config.errors import explain
from hycam_exp.config.settings import require_trainable
from hycam_exp.launch import jobs
from hycam_exp.launch.local import LocalLauncher
from hycam_exp.launch.slurm import SlurmLauncher
from hycam_exp.models import load
from hycam_exp.runtime import ranks
from hycam_exp.runtime.command_line import as_errors, leave_pipe, refuse
from hycam_exp.runtime.interruption import ended_by_signals
from hycam_exp.training import loggers

# What the libraries say to each other; nothing a user could act on.
THIRD_PARTY = (
    ".*isinstance.treespec, LeafSpec.*is deprecated",
    "`torch.distributed.*is deprecated",
    "Sparse invariant checks are implicitly disabled",
)


def execute(cfg: DictConfig) -> float:
    """Run the cell that a composed config describes, and return its best validation loss, which a sweeper may minimise.

    What a user can cause ends in one line, not a traceback.
    """
    for message in THIRD_PARTY:
        warnings.filterwarnings("ignore", message=message)
    try:
        run = read(cfg)
        require_trainable(run)
        loggers.require_usable(run.logger)
        if ranks.are_needed(run.trainer):
            load.check_device(run.trainer, "float32")  # asking for bfloat16 would take memory of the first GPU
            sys.exit(ranks.start(run.trainer, sys.argv[1:]))
        with ranks.joined(run.trainer):
            from hycam_exp.cell import run_cell

            return run_cell(run).fit.best_validation_loss
    except ValueError as error:
        sys.exit(as_errors(error))


jobs.register(LocalLauncher, SlurmLauncher)
_composed = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")(execute)


COMMANDS = {
    "plan": "hycam_exp.plan",
    "report": "hycam_exp.report",
    "data": "data_prep",
    "generate": "hycam_exp.generate",
    "push": "hycam_exp.push",
}
"""The other commands: `hycam-exp plan ...` is `python -m hycam_exp.plan ...`."""


@ended_by_signals()
def main() -> None:
    """The command line: one of the other commands by its name, or Hydra's overrides; a mistake ends in one line."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        runpy.run_module(COMMANDS[sys.argv.pop(1)], run_name="__main__", alter_sys=True)
        return
    options = get_args_parser()
    options.error = refuse  # type: ignore[method-assign]
    options.parse_args()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it raises its errors here, and does not print them over several lines
    try:
        _composed()
    except BrokenPipeError:
        leave_pipe()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(as_errors(explain(error)))


if __name__ == "__main__":
    main()
