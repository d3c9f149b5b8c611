"""`python -m hycam_exp.lm_eval ...`: lm-evaluation-harness's own command line, in a process where PEFT knows HyCAM."""

import sys
from importlib.util import find_spec

from hycam_exp.runtime.command_line import as_errors
from hycam_exp.runtime.interruption import ended_by_signals

# Of the harness's own errors those that anybody meets, and the way out.
KNOWN = {
    "Tasks not found: ": "`python -m hycam_exp.lm_eval ls tasks` lists them, --include_path DIR adds your own",
    "Can't find 'adapter_config.json'": "peft= is the folder outputs/RUN_ID/adapter of a finished run",
}


@ended_by_signals()
def main() -> None:
    """Hand the command line over as it is, or print one line about what is missing."""
    if find_spec("lm_eval") is None:
        sys.exit(as_errors("lm_eval is not installed: pip install 'hycam-exp[eval]'"))
    from lm_eval.__main__ import cli_evaluate

    import hycam_exp.methods  # noqa: F401 - registers with PEFT

    try:
        cli_evaluate()
    except ValueError as error:
        way_out = next((way_out for begin, way_out in KNOWN.items() if str(error).startswith(begin)), None)
        if way_out is None:
            raise
        sys.exit(as_errors(f"{error}; {way_out}"))


if __name__ == "__main__":
    main()
