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


def test_importing_leaves_the_filters_of_warnings_alone():
    """What a program hears of is its own choice."""
    code = "import peft, transformers, warnings; before = [*warnings.filters]; import hycam_exp.methods; "
    code += "print(before == warnings.filters)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_attaching_a_cells_method_warns_of_nothing():
    """PEFT asks transformers by an old name whenever it wraps a model: nothing that a user of cells could act on."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        attach(tiny("llama"), compose("method=hycam").method)
    assert [str(warning.message) for warning in said] == []


@pytest.mark.parametrize("door", ["import hycam_exp.methods", "from hycam_exp import HyCAMConfig"])
def test_each_door_registers(tmp_path, door):
    """After either import, in a fresh process, PEFT reads a saved HyCAM config."""
    HyCAMConfig(r=3).save_pretrained(tmp_path)
    code = f"{door}; from peft import PeftConfig; print(PeftConfig.from_pretrained({str(tmp_path)!r}).r)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    assert PeftConfig.from_pretrained(str(tmp_path)).r == 3


def test_the_package_itself_is_light():
    """`import hycam_exp` loads neither torch nor peft; touching a config's name does."""
    code = (
        "import sys, hycam_exp; light = 'torch' not in sys.modules; hycam_exp.HyCAMConfig; "
        "print(light, 'peft' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
