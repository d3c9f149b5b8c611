"""A mistake on any command line is one line, with no block of usage above it."""

import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.runtime.command_line import MARK, Parser, as_errors, key_values, visible

ROOT = Path(__file__).parents[2]
COMMANDS = ("hycam_exp", "hycam_exp.plan", "hycam_exp.report", "data_prep", "data_prep.mini")


def test_control_characters_are_shown_and_not_obeyed():
    """A terminal's escapes, carriage returns and C1 codes are escapes of ours, in errors too; other text stays."""
    assert visible("a\x1b]0;title\x07\r\x9b2J\tb\n\u4e16") == "a\\x1b]0;title\\x07\\x0d\\x9b2J\tb\n\u4e16"
    assert as_errors("no \x1b[2Jluck") == f"{MARK}no \\x1b[2Jluck"


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
    """A problem of several lines is several errors, and the mark is all that is added."""
    assert as_errors(ValueError("one\ntwo")) == "error: one\nerror: two"
    assert as_errors("one").removeprefix(MARK) == "one"


def test_arguments_stand_over_the_defaults():
    """A value keeps its own equals signs, and what is not given keeps its default."""
    found = key_values(["prompt=a=b", "run="], {"run": "x", "prompt": "", "input": "y"})
    assert found == {"run": "", "prompt": "a=b", "input": "y"}


@pytest.mark.parametrize("argument", ["blocks", "fold=1"])
def test_other_arguments_are_refused(argument):
    """What has no value, or a key that is not among the defaults', is named with those that are."""
    with pytest.raises(ValueError, match=f"^argument={argument}: must be one of run=, task=$"):
        key_values(["run=x", argument], {"run": "", "task": ""})
