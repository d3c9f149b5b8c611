"""A mistake on any command line is one line, with no block of usage above it."""

import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.command_line import Parser, as_errors

ROOT = Path(__file__).parents[1]
COMMANDS = ("hycam_exp", "hycam_exp.plan", "hycam_exp.report", "data_prep", "data_prep.mini")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line(command):
    """Exit status 2, the option named, the way to the list of options, and nothing else."""
    arguments = {"data_prep": ["stats", "--root", "x"], "data_prep.mini": ["--out", "x"]}.get(command, [])
    done = subprocess.run([sys.executable, "-m", command, *arguments, "--typo"], capture_output=True, text=True)
    message = "error: unrecognized arguments: --typo (--help lists the options)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_a_sub_commands_parser_is_of_the_same_kind(capsys):
    """What is wrong below a sub-command is one line as well."""
    parser = Parser()
    parser.add_subparsers().add_parser("stats").add_argument("--n", type=int)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["stats", "--n", "x"])
    assert capsys.readouterr().err == "error: argument --n: invalid int value: 'x' (--help lists the options)\n"


def test_no_command_has_a_parser_of_its_own():
    """Every source that parses options does it by the one kind of parser."""
    sources = [path for folder in ("hycam_exp", "data_prep", "scripts") for path in (ROOT / folder).rglob("*.py")]
    own = [p for p in sources if "ArgumentParser(" in p.read_text() and p.name != "command_line.py"]
    assert own == []


def test_every_line_is_marked():
    """A problem of several lines is several errors."""
    assert as_errors("one\ntwo") == "error: one\nerror: two"
