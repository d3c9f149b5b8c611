"""key=value arguments over defaults."""

import pytest

from hycam_exp.options import key_values


def test_arguments_stand_over_the_defaults() -> None:
    """A value keeps its own equals signs, and what is not given keeps its default."""
    assert key_values(["prompt=a=b", "run="], {"run": "x", "prompt": "", "input": "y"}) == {
        "run": "",
        "prompt": "a=b",
        "input": "y",
    }


@pytest.mark.parametrize("argument", ["blocks", "fold=1"])
def test_other_arguments_are_refused(argument: str) -> None:
    """What has no value, or a key that is not among the defaults', is named with those that are."""
    with pytest.raises(ValueError, match=f"^argument={argument}: must be one of run=, task=$"):
        key_values(["run=x", argument], {"run": "", "task": ""})
