"""The wheel: what pip installs runs from any folder."""

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_an_installed_wheel_composes_its_own_config_from_any_folder(tmp_path):
    """Built, installed into a fresh environment without its dependencies, the wheel finds conf/ and its assets."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    # The dependencies of this environment, without its own (editable) copy of the project.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    code = (
        "from hycam_exp.config.compose import compose, config_dir; from hycam_exp.models import files; "
        "from hycam_exp.data.table1 import datasets; "
        "print(config_dir()); print(compose().method.name); print((files.ASSETS / 'tiny_llama').is_dir()); "
        "print(len(datasets())); "
        "from hycam_exp.data import sources; print(len(sources.read(['mini_code'], None).records))"
    )
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        command = [str(python), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=True).stdout

    assert run("-c", code).split() == [str(packages / "hycam_exp" / "conf"), "hycam", "True", "5", "2000"]
    assert "method: cam, comol, full_ft, hycam" in run("-m", "hycam_exp", "--help")
    installed = subprocess.run(
        [str(python.with_name("hycam-exp")), "plan", "--help"],
        cwd=tmp_path,
        env=outside,
        capture_output=True,
        text=True,
    )
    assert installed.stdout.startswith("usage: python -m hycam_exp.plan"), installed.stderr
