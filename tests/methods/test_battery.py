"""PEFT's own battery of tests, from the installed version's source distribution, over the methods that live here."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import peft
import pytest

from tests.test_house import ROOT

SHA256 = {"0.21.2": "b803ccfb3f3f316004d850284306687833a2235ea278fb56abc856203456142e"}
FOLDER = ROOT / "outputs" / "peft_battery"
PICKLES = {"save_pretrained-1", "save_pretrained_selected_adapters-1"}
MERGES = {
    "merge_layers-0", "merge_layers_fp16-0", "merge_layers_is_idempotent-0", "merge_layers_multi-0",
    "merge_layers_nan-0", "safe_merge-0",
}  # fmt: skip
REFUSED = {"hycam": MERGES | PICKLES, "riemoe_lora": MERGES | PICKLES, "multi_lora": PICKLES}
"""What fails because it is refused, with the reasons in docs/upstream.md: no other check does."""
PASS = {"hycam": 213, "riemoe_lora": 182, "multi_lora": 224}
"""How many checks pass; PEFT skips the others, and GPT-2's projections are not for the stacked methods."""
FROM_THE_HUB = {"test_from_pretrained", "test_from_pretrained_cache_dir", "test_save_pretrained_with_runtime_config"}
"""Checks that read a config from the model hub."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def beside(tmp_path_factory) -> Path:
    """A folder with PEFT's tests and our cases beside them; skips without the package index."""
    archive = FOLDER / f"peft-{peft.__version__}.tar.gz"
    if peft.__version__ not in SHA256:
        pytest.skip(f"no checksum of PEFT {peft.__version__}'s source distribution is known here")
    if not archive.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        fetch = ["pip", "download", f"peft=={peft.__version__}", "--no-deps", "--no-binary", ":all:"]
        fetch += ["--no-build-isolation", "--dest", str(FOLDER)]
        done = subprocess.run([sys.executable, "-m", *fetch], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"PEFT's source distribution cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256[peft.__version__]
    folder = tmp_path_factory.mktemp("battery")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    there = folder / archive.name.removesuffix(".tar.gz")
    (there / "diffusers.py").write_text("class StableDiffusionPipeline:\n    pass\n")  # which PEFT's tester imports
    (there / "tests" / "__init__.py").touch()  # or `tests` would be this project's
    shutil.copy(Path(__file__).with_name("battery.py"), there / "tests" / "test_ours.py")
    return there


def results(there: Path, *arguments: str) -> ElementTree.Element:
    """The cases of a run of pytest in PEFT's folder, as JUnit's XML has them."""
    paths = os.pathsep.join([str(there), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    run = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-W", "ignore", "--rootdir", str(there)]
    done = subprocess.run(
        [*run, "--junitxml", "results.xml", *arguments], cwd=there, env=environment, capture_output=True, text=True
    )
    assert (there / "results.xml").is_file(), done.stdout + done.stderr
    return ElementTree.parse(there / "results.xml").getroot()


@pytest.mark.parametrize("method", REFUSED)
def test_every_check_of_pefts_tester_passes_but_what_is_refused(beside, method):
    """Over eight families; merging what depends on the input is refused, and so is reading a pickle."""
    cases = results(beside, "tests/test_ours.py", "-k", method).iter("testcase")
    outcomes = [(case.get("name"), {child.tag for child in case}) for case in cases]
    failed = Counter(
        name.rpartition(f"{method}-")[2].rstrip("]") for name, tags in outcomes if tags & {"failure", "error"}
    )
    assert len(outcomes) > 1, "PEFT's tester was not found"
    print(method, len(outcomes), "cases;", sum(not tags for _, tags in outcomes), "pass;", dict(failed), "fail")
    assert set(failed) == REFUSED[method]
    assert sum(not tags for _, tags in outcomes) == PASS[method]


def test_pefts_suite_of_configs_passes(beside):
    """With our config classes in the place of PEFT's."""
    suite = beside / "tests" / "test_config.py"
    before, _, rest = suite.read_text().partition("ALL_CONFIG_CLASSES = (")
    ours = "from hycam_exp import HyCAMConfig, MultiLoRAConfig, RieMoELoRAConfig\n"
    classes = "ALL_CONFIG_CLASSES = ((HyCAMConfig, {}), (MultiLoRAConfig, {}), (RieMoELoRAConfig, {}))\n"
    (beside / "tests" / "test_our_configs.py").write_text(before + ours + classes + rest.partition("\n)\n")[2])
    cases = list(results(beside, "tests/test_our_configs.py", "-k", "HyCAM or MultiLoRA or RieMoE").iter("testcase"))
    offline = [case for case in cases if str(case.get("name")).partition("[")[0] not in FROM_THE_HUB]
    failed = {case.get("name") for case in offline if {child.tag for child in case} & {"failure", "error"}}
    assert len(offline) >= 30
    assert not failed
