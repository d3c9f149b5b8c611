"""PEFT knows the methods that live here."""

import subprocess
import sys
import warnings

import pytest
from peft import PeftConfig
from peft.utils.peft_types import PeftType

from hycam_exp.config.compose import compose
from hycam_exp.methods import attach, bridge
from hycam_exp.methods.hycam import HyCAMConfig, HyCAMModel
from tests.methods.conftest import tiny


def test_the_registered_type_behaves_as_a_member_of_the_enum():
    """It is found by name and by value, equals its string, and is listed."""
    assert PeftType("HYCAM") is PeftType["HYCAM"] is PeftType.HYCAM
    assert PeftType.HYCAM == "HYCAM"
    assert PeftType.HYCAM in list(PeftType)


def test_registering_twice_changes_nothing():
    """A second import of the package does not trip over the first."""
    members = list(PeftType)
    bridge.register("hycam", HyCAMConfig, HyCAMModel)
    assert list(PeftType) == members


def test_attaching_a_cells_method_warns_of_nothing():
    """PEFT asks transformers by an old name whenever it wraps a model: nothing that a user of cells could act on."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        attach(tiny("llama"), compose("method=hycam").method)
    assert [str(warning.message) for warning in said] == []


FIRST = """
import sys, hycam_exp
said = {"torch", "peft"}.isdisjoint(sys.modules)
from hycam_exp import HyCAMConfig
said = said and "peft" in sys.modules
"""
SECOND = """
import peft, transformers, warnings
before = [*warnings.filters]
import hycam_exp.methods
said = before == warnings.filters
"""


@pytest.mark.parametrize("door", [FIRST, SECOND], ids=["the package", "the methods"])
def test_each_door_registers(tmp_path, door):
    """After either import, in a fresh process, PEFT reads a saved HyCAM config.

    `import hycam_exp` itself loads neither torch nor peft, a config's name does; importing the methods leaves the
    filters of warnings alone: what a program hears of is its own choice.
    """
    HyCAMConfig(r=3).save_pretrained(tmp_path)
    code = f"{door}from peft import PeftConfig\nprint(PeftConfig.from_pretrained({str(tmp_path)!r}).r, said)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "True"]
    assert PeftConfig.from_pretrained(str(tmp_path)).r == 3
