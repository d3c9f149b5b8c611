"""Where curves go: a CSV file always, and beside it what `logger` names, by Lightning's own loggers.

E.g. `logger=tensorboard` writes outputs/RUN_ID/tensorboard. Lightning is loaded when loggers are made, so that
`require_usable` answers before torch is.
"""

import netrc
import os
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hycam_exp.config.settings import LoggerSettings, Run

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

WANDB_HOST = "https://api.wandb.ai"
WANDB_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


def require_usable(settings: LoggerSettings) -> None:
    """Raise a `ValueError` where a logger cannot start: its package is absent, or W&B would ask for a key."""
    name = settings.name
    if name != "csv" and find_spec(name) is None:
        raise ValueError(f"logger={name}: {name} is not installed; pip install 'hycam-exp[{name}]', or logger=csv")
    if settings.mode == "online" and not _has_wandb_key():
        way_out = "set WANDB_API_KEY, or log in once with `wandb login`; logger.mode=offline needs none"
        raise ValueError(f"logger.mode=online: there is no key for Weights & Biases; {way_out}")


def _has_wandb_key() -> bool:
    """In the environment, or in the user's netrc file, as wandb itself looks for one."""
    if any(os.environ.get(key) for key in WANDB_KEYS):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", WANDB_HOST)).netloc
    try:
        return netrc.netrc(os.environ.get("NETRC") or os.path.expanduser("~/.netrc")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def loggers(run: Run, run_id: str, folder: Path, attempt: int) -> "list[Logger]":
    """The CSV logger, in a folder for each attempt so that none overwrites another's, and the one that is asked for.

    Raises:
        ValueError: the logger cannot start; says why.
    """
    from pytorch_lightning.loggers import CSVLogger

    require_usable(run.logger)
    found: list[Logger] = [CSVLogger(folder, name="curves", version=f"attempt_{attempt}")]
    if run.logger.name == "tensorboard":
        from pytorch_lightning.loggers import TensorBoardLogger

        found.append(TensorBoardLogger(folder, name="tensorboard", version=f"attempt_{attempt}"))
    if run.logger.name == "mlflow":
        from pytorch_lightning.loggers import MLFlowLogger

        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        found.append(MLFlowLogger(str(run.logger.project), run_name=run_id, tracking_uri=place))
    if run.logger.name == "wandb":
        found.append(_wandb(run, run_id, folder))
    return found


def _wandb(run: Run, run_id: str, folder: Path) -> "Logger":
    """The run's own entry in W&B. Online it is opened at once, so that what is wrong is told before training."""
    from pytorch_lightning.loggers import WandbLogger
    from wandb.errors import Error

    os.environ["WANDB_MODE"] = str(run.logger.mode)
    offline, config = run.logger.mode == "offline", asdict(run)
    logger = WandbLogger(
        name=run_id, id=run_id, project=run.logger.project, save_dir=folder, offline=offline, config=config
    )
    if not offline:
        try:
            logger.experiment  # noqa: B018 - opens the connection
        except Error as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"logger.mode=online: Weights & Biases: {reason}; or logger.mode=offline") from error
    return logger
