"""What all commands share: errors as lines, and key=value arguments over defaults."""

import pytest

from hycam_exp.command_line import MARK, as_errors, key_values


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
