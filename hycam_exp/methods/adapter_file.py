"""The file of a saved adapter, held against its config and its model before anything is attached.

PEFT warns of a missing tensor, passes over one too many, and unpickles where there is no safetensors file; here each is
an error, and the model stays as it was.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from peft.utils.error import NoMatchingPeftModuleError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]
READ_FROM = "read_from"  # an attribute of a config that is not one of its fields, so that it is never saved


class CheckedConfig(PeftConfig):
    """A config that remembers where it was read from, for the methods that live here."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> PeftConfig:
        """The saved config; the tensors beside it are checked before a module is replaced."""
        config = super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs)
        return remember(config, pretrained_model_name_or_path, subfolder)


class CheckedTuner(BaseTuner):
    """A tuner that PEFT's own loading gives a whole adapter or none, and that says what it could have wrapped."""

    candidates: str
    """What `candidates_in` names, as a person says it."""

    def candidates_in(self, model: nn.Module) -> set[str]:
        """The names of the modules that could be targeted."""
        raise NotImplementedError

    def inject_adapter(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        try:
            super().inject_adapter(model, *args, **kwargs)
        except NoMatchingPeftModuleError as error:
            found = ", ".join(sorted(self.candidates_in(model)))
            raise NoMatchingPeftModuleError(f"{error} Its {self.candidates} are {found}.") from error

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        check_remembered(model, peft_config)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """Cast as PEFT does, and freeze again what was frozen: its cast makes new parameters, which are all trained."""
        trained = {name: parameter.requires_grad for name, parameter in self.model.named_parameters()}
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad = trained[name]

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The tensors under the model's names: all of the adapter's and no other, or PEFT would load some."""
        state = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        check_state(state, model, adapter_name, cls.prefix)
        return state


def load(model: nn.Module, folder: Path) -> PeftModel:
    """The model with the adapter of a folder.

    Raises:
        ValueError: the adapter is not whole, or is another model's; the model is as before.
    """
    check(model, PeftConfig.from_pretrained(str(folder)), folder)
    return PeftModel.from_pretrained(model, str(folder))


def check(model: nn.Module, config: PeftConfig, folder: Path) -> None:
    """Raise a `ValueError` unless the folder's tensors are exactly those that the config asks for on this model."""
    sizes = ", ".join(f"{name}={getattr(model.config, name)}" for name in ("hidden_size", "num_hidden_layers"))
    compare(
        stored_shapes(folder),
        expected_shapes(model, config),
        f"{folder / SAFETENSORS_WEIGHTS_NAME}: not the adapter that its adapter_config.json describes for "
        f"{type(model).__name__} with {sizes}",
        f"load it on the backbone that it was trained on ({config.base_model_name_or_path or 'which it does not name'})"
        ", with the config that it was saved with",
    )


def remember(config: PeftConfig, folder: str | Path, subfolder: str | None = None) -> PeftConfig:
    """The config with a note of the local folder that it was read from, for `check_remembered`."""
    path = Path(folder, subfolder or "")
    if path.is_dir():
        vars(config)[READ_FROM] = path
    return config


def check_remembered(model: nn.Module, config: PeftConfig) -> None:
    """`check`, once, where the config was read from a local folder."""
    folder = vars(config).pop(READ_FROM, None)
    if folder is not None:
        check(model, config, folder)


def check_state(state: dict[str, Tensor], model: nn.Module, adapter_name: str, prefix: str) -> None:
    """Raise a `ValueError` unless the tensors, under the model's names, are all that an attached adapter has."""
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    there = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    own = {name for name in there if f".{prefix}" in name and name.endswith(f".{adapter_name}")}
    compare(
        found,
        {name: shape for name, shape in there.items() if name in own or name in found},
        f"adapter {adapter_name}: the tensors to load are not those of the adapter in the model",
        "nothing was loaded; load them into an adapter of their own config",
    )


def stored_shapes(folder: Path) -> Shapes:
    """The names and shapes of a folder's tensors, from the head of its safetensors file.

    Raises:
        ValueError: there is none, it is not whole, or a tensor does not hold floating-point numbers.
    """
    path, pickled = folder / SAFETENSORS_WEIGHTS_NAME, folder / WEIGHTS_NAME
    if not path.is_file():
        reason = f"; {WEIGHTS_NAME} is a pickle, which may run any code and is not read" if pickled.exists() else ""
        raise ValueError(f"{folder}: no {path.name} there{reason}; save the adapter with save_pretrained")
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            kinds = {name: stored.get_dtype() for name, stored in slices.items()}
            shapes = {name: tuple(stored.get_shape()) for name, stored in slices.items()}
    except SafetensorError as error:
        raise ValueError(f"{path}: cut off or damaged ({error}); save or copy the adapter again") from error
    for name, kind in kinds.items():
        if not kind.startswith(("F", "BF")):
            raise ValueError(f"{path}: {name} is of type {kind}; floating-point numbers are expected")
    return shapes


def expected_shapes(model: nn.Module, config: PeftConfig) -> Shapes:
    """The names and shapes that PEFT would save for this config on this model, found on a twin without storage."""
    config = copy.deepcopy(config)
    config.base_model_name_or_path = None  # the twin has no name
    with torch.device("meta"):
        twin: Any = type(model)(copy.deepcopy(model.config))
        adapted = get_peft_model(twin, config)
    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def compare(found: Shapes, expected: Shapes, what: str, remedy: str) -> None:
    """Raise a `ValueError` that names what is missing, too many or of another shape."""
    problems = {
        "missing": [f"{name} {expected[name]}" for name in expected if name not in found],
        "unexpected": [f"{name} {found[name]}" for name in found if name not in expected],
        "of another shape": [
            f"{name}, found {found[name]}, expected {expected[name]}"
            for name in expected
            if name in found and found[name] != expected[name]
        ],
    }
    if any(problems.values()):
        counted = "; ".join(f"{len(names)} {kind} ({names[0]})" for kind, names in problems.items() if names)
        raise ValueError(f"{what}: {counted}; {remedy}")
