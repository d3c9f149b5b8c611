"""`python -m hycam_exp [overrides]`: composes the config and hands one cell over."""

import sys
import warnings

import hydra
from omegaconf import DictConfig

from hycam_exp import backbones, jobs, rank_processes, ranks
from hycam_exp.config import config_dir, read, require_trainable
from hycam_exp.launcher import LocalLauncher
from hycam_exp.slurm import SlurmLauncher

# What the libraries say to each other; nothing a user could act on.
THIRD_PARTY = (
    ".*isinstance.treespec, LeafSpec.*is deprecated",
    "`torch.distributed.*is deprecated",
)


def execute(cfg: DictConfig) -> None:
    """Run the cell that a composed config describes; what a user can cause ends in one line, not a traceback."""
    for message in THIRD_PARTY:
        warnings.filterwarnings("ignore", message=message)
    try:
        run = read(cfg)
        require_trainable(run)
        if rank_processes.are_needed(run.trainer):
            backbones.check_device(run.trainer, "float32")  # asking for bfloat16 would take memory of the first GPU
            sys.exit(rank_processes.run(run.trainer, sys.argv[1:]))
        with ranks.joined(run.trainer):
            from hycam_exp.cell import run_cell

            run_cell(run)
    except ValueError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


jobs.register(LocalLauncher, SlurmLauncher)
main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")(execute)

if __name__ == "__main__":
    main()
