"""Where curves go, and what is refused before training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.training import loggers as module
from hycam_exp.training.loggers import loggers, require_usable

ONLINE = ("logger=wandb", "logger.mode=online")
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow"])
def test_a_logger_that_is_not_installed_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra that installs it, and the logger that is always there."""
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    require_usable(compose().logger)
    with pytest.raises(ValueError) as caught:
        require_usable(compose(f"logger={name}").logger)
    way_out = f"pip install 'hycam-exp[{name}]', or logger=csv"
    assert str(caught.value) == f"logger={name}: {name} is not installed; {way_out}"


def test_online_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment or in the netrc file, for the host that is asked; else one line names the ways out."""
    pytest.importorskip("wandb")
    for name in (*module.WANDB_KEYS, "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    settings = compose(*ONLINE).logger
    for content in (None, "no netrc file {", f"machine other.example login user password {KEY}\n"):
        if content is not None:
            (tmp_path / "netrc").write_text(content)
        with pytest.raises(
            ValueError, match=r"^logger\.mode=online: there is no key .*WANDB_API_KEY.*offline needs none$"
        ):
            require_usable(settings)
    monkeypatch.setenv("WANDB_BASE_URL", "http://other.example")
    require_usable(settings)
    monkeypatch.delenv("WANDB_BASE_URL")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    require_usable(settings)
    require_usable(compose("logger=wandb").logger)


@pytest.mark.parametrize("more", [(), ("-m", "fold=0,1")])
def test_the_command_asks_nobody_for_a_key(tmp_path: Path, more: tuple[str, ...]) -> None:
    """A cell and a grid end in the line before anything is read or trained."""
    pytest.importorskip("wandb")
    environment = {key: value for key, value in os.environ.items() if key not in module.WANDB_KEYS}
    command = [sys.executable, "-m", "hycam_exp", *more, *ONLINE]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=60, stdin=subprocess.DEVNULL,
        env={**environment, "NETRC": str(tmp_path / "none")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: logger.mode=online: there is no key for Weights & Biases; ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("results/runs/*")) == []


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time that W&B gives a connection, as one line; nobody waits for ever."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"^logger\.mode=online: Weights & Biases: [^\n]+; or logger\.mode=offline$"):
        loggers(compose(*ONLINE), "run", tmp_path, attempt=1)


@pytest.mark.parametrize(("name", "kept"), [("tensorboard", "tensorboard/attempt_1/events.*"), ("mlflow", "mlflow.db")])
def test_curves_go_to_the_runs_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kept: str
) -> None:
    """By Lightning's own logger, beside the CSV file that is always written."""
    pytest.importorskip(name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    csv, other = loggers(compose(f"logger={name}"), "run", tmp_path, attempt=1)
    for logger in (csv, other):
        logger.log_metrics({"loss": 2.5}, step=1)
        logger.save()
        logger.finalize("success")
    assert "2.5" in (tmp_path / "curves" / "attempt_1" / "metrics.csv").read_text()
    assert len(list(tmp_path.glob(kept))) == 1
