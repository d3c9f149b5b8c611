"""`python -m hycam_exp.plan [overrides]`: what a cell or a grid will need, before any weight is loaded."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields

from hycam_exp.config.grid import expand, runs
from hycam_exp.plan.allocation import AllocationRequest, allocation, jobs_of
from hycam_exp.plan.devices import NAMES, UTILISATION, accelerator
from hycam_exp.plan.lines import lines
from hycam_exp.plan.printout import allocation_as_json, as_json, show, show_allocation
from hycam_exp.runtime.command_line import Parser, as_errors
from hycam_exp.runtime.interruption import ended_by_signals


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m hycam_exp.plan", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as of python -m hycam_exp; commas make a grid")
    parser.add_argument("-m", "--multirun", action="store_true", help="expand hydra.sweeper.params")
    parser.add_argument("--json", action="store_true", help="print JSON, described in docs/plan.md")
    parser.add_argument("--accelerator", choices=NAMES, help="default: h100_80gb, or cpu if all cells run there")
    parser.add_argument("--utilisation", type=float, default=UTILISATION, help="share of the peak that is reached")
    simulated = parser.add_argument_group("simulation of the cells that are left")
    simulated.add_argument("--simulate", choices=("slurm",), help="how long the grid takes on a cluster; needs --gpus")
    simulated.add_argument("--gpus", type=int, help="that you think of asking for")
    for field in fields(AllocationRequest)[1:]:
        kind, words = type(field.default) if field.default is not None else float, field.metadata["help"]
        simulated.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default, help=words)
    simulated.add_argument("--with-remedies", action="store_true", help="run what does not fit with its remedy")
    return parser


@ended_by_signals()
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan; what a user can mend ends in one line on standard error, exit status 1."""
    parsed = _parser().parse_intermixed_args(arguments)
    try:
        if not 0 < parsed.utilisation <= 1:
            raise ValueError(f"--utilisation={parsed.utilisation}: must be above 0 and at most 1")
        request = _request(parsed)
        cells = expand(parsed.overrides, parsed.multirun)
        found = runs(cells)
        gpu = any(run.trainer.accelerator == "gpu" for run in found)
        device = accelerator(parsed.accelerator or ("h100_80gb" if gpu else "cpu"))
        planned = lines(cells, found, device, parsed.utilisation)
        jobs, left_out = jobs_of(planned, request.start_minutes / 60, parsed.with_remedies) if request else ([], [])
        simulated = allocation(jobs, request) if request else None
    except ValueError as error:
        sys.exit(as_errors(error))
    if parsed.json:
        plan = as_json(planned, device, parsed.utilisation)
        if request and simulated:
            plan["simulation"] = allocation_as_json(simulated, left_out, request)
        print(json.dumps(plan, indent=1))
        return
    show(planned, device)
    if request and simulated:
        show_allocation(simulated, left_out, request, device.name)


def _request(parsed: argparse.Namespace) -> AllocationRequest | None:
    """The allocation to simulate; None: none was asked for."""
    if parsed.simulate is None:
        usual = {field.name: None if field.default is MISSING else field.default for field in fields(AllocationRequest)}
        given = [name for name, value in {**usual, "with_remedies": False}.items() if getattr(parsed, name) != value]
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')}={getattr(parsed, given[0])}: needs --simulate slurm")
        return None
    if parsed.gpus is None:
        raise ValueError("--simulate: needs --gpus")
    return AllocationRequest(**{field.name: getattr(parsed, field.name) for field in fields(AllocationRequest)})


if __name__ == "__main__":
    main()
