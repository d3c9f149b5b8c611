"""`python -m hycam_exp.plan [overrides]`: what a cell or a grid will need, before any weight is loaded."""

import argparse
import json
import sys
from collections.abc import Sequence

from hycam_exp.grid import expand, runs
from hycam_exp.plan.accelerators import NAMES, UTILISATION, accelerator
from hycam_exp.plan.lines import lines
from hycam_exp.plan.printed import as_json, show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hycam_exp.plan", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as of python -m hycam_exp; commas make a grid")
    parser.add_argument("-m", "--multirun", action="store_true", help="expand hydra.sweeper.params")
    parser.add_argument("--json", action="store_true", help="print JSON, described in docs/plan.md")
    parser.add_argument("--accelerator", choices=NAMES, help="default: h100_80gb, or cpu if all cells run there")
    parser.add_argument("--utilisation", type=float, default=UTILISATION, help="share of the peak that is reached")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan; what a user can mend ends in one line on standard error, exit status 1."""
    parsed = _parser().parse_intermixed_args(arguments)
    try:
        if not 0 < parsed.utilisation <= 1:
            raise ValueError(f"--utilisation={parsed.utilisation}: must be above 0 and at most 1")
        cells = expand(parsed.overrides, parsed.multirun)
        found = runs(cells)
        gpu = any(run.trainer.accelerator == "gpu" for run in found)
        device = accelerator(parsed.accelerator or ("h100_80gb" if gpu else "cpu"))
        planned = lines(cells, found, device, parsed.utilisation)
    except ValueError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
    if parsed.json:
        print(json.dumps(as_json(planned, device, parsed.utilisation), indent=1))
    else:
        show(planned, device)


if __name__ == "__main__":
    main()
