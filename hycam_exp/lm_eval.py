"""`python -m hycam_exp.lm_eval ...`: lm-evaluation-harness's own command line, in a process where PEFT knows HyCAM."""

import sys
from importlib.util import find_spec

from hycam_exp.command_line import as_errors


def main() -> None:
    """Hand the command line over as it is, or print one line about what is missing."""
    if find_spec("lm_eval") is None:
        sys.exit(as_errors("lm_eval is not installed: pip install 'hycam-exp[eval]'"))
    from lm_eval.__main__ import cli_evaluate

    import hycam_exp.methods  # noqa: F401 - registers with PEFT

    cli_evaluate()


if __name__ == "__main__":
    main()
