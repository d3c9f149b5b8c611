"""A run's adapter on its way to the model hub, which is never reached here."""

import json
from pathlib import Path

import pytest
from peft import PeftConfig

import hycam_exp.methods  # noqa: F401 - registers with PEFT
from hycam_exp import push
from hycam_exp.cell import run_cell
from tests.test_cell import quick


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """A finished run's adapter."""
    folder = tmp_path_factory.mktemp("push")
    run_id = run_cell(quick(folder, "model=tiny_llama", "evaluation.generate=false")).run_id
    return folder / "outputs" / run_id / "adapter"


def test_what_goes_up_names_no_place_of_this_machine(adapter, tmp_path):
    """Adapter, card, tokenizer and settings are there, whole; a base model that lies in a folder is named by its name
    and is no base model of the hub in the card; the run's own files stay as they are."""
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    staged = push.stage(adapter, tmp_path / "staged")
    assert {path.name for path in staged} == set(before)
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before
    base = json.loads(before["adapter_config.json"])["base_model_name_or_path"]
    for path in staged:
        content = path.read_bytes()
        assert base.encode() not in content
        assert str(adapter.parents[2]).encode() not in content
    card = (tmp_path / "staged" / "README.md").read_text()
    assert "base_model:" not in card
    assert 'from_pretrained("tiny_llama")' in card
    assert PeftConfig.from_pretrained(tmp_path / "staged").base_model_name_or_path == "tiny_llama"


class Hub:
    """What the hub's client is asked to do."""

    asked: list[tuple[str, ...]] = []

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        self.asked.append(("create", repo, str(private), str(exist_ok)))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        self.asked.append(("upload", repo_id, *sorted(path.name for path in Path(folder_path).iterdir())))
        return "the address"


def test_it_is_uploaded_whole_and_its_address_printed(adapter, monkeypatch, capsys):
    """The repository is made if there is none, private if asked for, and every file goes up."""
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    push.main([f"run={adapter}", "repo=me/mine", "private=true"])
    names = sorted(path.name for path in adapter.iterdir())
    assert Hub.asked == [("create", "me/mine", "True", "True"), ("upload", "me/mine", *names)]
    assert capsys.readouterr().out.endswith("the address\n")


@pytest.mark.parametrize(
    ("offline", "token", "why"), [(True, "t", "HF_HUB_OFFLINE is set"), (False, None, "there is no token of the hub")]
)
def test_where_the_hub_is_out_of_reach_it_says_what_it_would_upload(adapter, monkeypatch, capsys, offline, token, why):
    """The files are listed, the reason is one line, and the status says that nothing was uploaded."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with pytest.raises(SystemExit) as ended:
        push.main([f"run={adapter}", "repo=me/mine"])
    assert ended.value.code == f"error: repo=me/mine: not uploaded, as {why}" + ended.value.code.partition(why)[2]
    assert "adapter_model.safetensors: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repo=me/mine"], "run=: is needed"),
        (["run=x"], "repo=: is needed"),
        (["run=x", "repo=mine"], "repo=mine: is needed: repo=USER/NAME"),
        (["run=x", "repo=me/-mine"], "repo=me/-mine: "),
        (["run=x", "repo=me/mine", "private=yes"], "private=yes: must be one of true, false"),
        (["run=x", "repo=me/mine", "colour=red"], "argument=colour=red"),
        (["run=x", "repo=me/mine"], "run=x: no finished run there"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    """Nothing is uploaded, and the line names the value."""
    with pytest.raises(SystemExit) as ended:
        push.main(arguments)
    assert ended.value.code.startswith(f"error: {message}")
    assert "\n" not in ended.value.code
