"""`python -m hycam_exp.lm_eval ...`: lm-evaluation-harness's own command line, in a process where PEFT knows HyCAM."""

import sys
from importlib.util import find_spec

from hycam_exp.command_line import as_errors

TASKS_UNKNOWN = "Tasks not found: "


def main() -> None:
    """Hand the command line over as it is, or print one line about what is missing."""
    if find_spec("lm_eval") is None:
        sys.exit(as_errors("lm_eval is not installed: pip install 'hycam-exp[eval]'"))
    from lm_eval.__main__ import cli_evaluate

    import hycam_exp.methods  # noqa: F401 - registers with PEFT

    try:
        cli_evaluate()
    except ValueError as error:
        if not str(error).startswith(TASKS_UNKNOWN):  # of the harness's own errors the one that anybody meets
            raise
        sys.exit(
            as_errors(f"{error}; `python -m hycam_exp.lm_eval ls tasks` lists them, --include_path DIR adds your own")
        )


if __name__ == "__main__":
    main()
