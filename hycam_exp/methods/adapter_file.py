"""The file of a saved adapter, held against its config and its model before anything is attached.

PEFT warns of a missing tensor, passes over one too many, and unpickles where there is no safetensors file; here each is
an error, and the model stays as it was.
"""

import copy
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from peft.utils.error import NoMatchingPeftModuleError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hycam_exp.methods import model_card
from hycam_exp.models.load import skeleton_of

Shapes = dict[str, tuple[int, ...]]
READ_FROM = "read_from"  # an attribute of a config that is not one of its fields, so that it is never saved
PEFT_PREFIX = "base_model.model."


def require(holds: bool, field: str, value: object, law: str) -> None:
    """Raise a `ValueError` that names a config's field, its value and the law it breaks."""
    if not holds:
        raise ValueError(f"{field}={value}: {law}")


class CheckedConfig(PeftConfig):
    """A config that remembers where it was read from, for the methods that live here."""

    earlier: ClassVar[dict[str, str]] = {}
    """The names that fields had in earlier versions, and what they are called now."""

    def __new__(cls, *args: Any, **fields: Any) -> "CheckedConfig":
        """A config of today's fields: PEFT passes over a saved field that it does not know.

        Raises:
            ValueError: a field has the name that it had in an earlier version.
        """
        for name in cls.earlier.keys() & fields.keys():
            raise ValueError(
                f"{name}={fields[name]}: {cls.__name__} calls it {cls.earlier[name]} now; rename it in"
                " adapter_config.json, or train the adapter again"
            )
        return super().__new__(cls)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> PeftConfig:
        """The saved config; the tensors beside it are checked before a module is replaced."""
        config = super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs)
        return remember(config, pretrained_model_name_or_path, subfolder)

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """adapter_config.json, and in the model card beside it the lines that load the adapter."""
        super().save_pretrained(save_directory, **kwargs)
        model_card.write(Path(save_directory), self)


class CheckedTuner(BaseTuner):
    """A tuner that PEFT's own loading gives a whole adapter or none, and that says what it could have wrapped."""

    candidates: str
    """What `candidates_in` names, as a person says it."""

    def candidates_in(self, model: nn.Module) -> set[str]:
        """The names of the modules that could be targeted."""
        raise NotImplementedError

    def own_shapes(self, model: nn.Module, peft_config: PeftConfig) -> Shapes:
        """The names and shapes of the tensors that an adapter of this config has on a model, without its name."""
        raise NotImplementedError

    def matched(self, model: nn.Module, peft_config: PeftConfig) -> dict[str, nn.Module]:
        """The modules that a config targets, by name, as they are without adapters."""
        inside = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer))
        return {
            name: getattr(module, "base_layer", module)
            for name, module in model.named_modules()
            if name and not name.startswith(inside) and self._check_target_module_exists(peft_config, name)
        }

    def inject_adapter(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        try:
            super().inject_adapter(model, *args, **kwargs)
        except NoMatchingPeftModuleError as error:
            found = ", ".join(sorted(self.candidates_in(model)))
            raise NoMatchingPeftModuleError(f"{error} Its {self.candidates} are {found}.") from error

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        """Hold a config that was read from a local folder against the tensors beside it, once."""
        folder = vars(peft_config).pop(READ_FROM, None)
        if folder is not None:
            whole = _maybe_include_all_linear_layers(copy.copy(peft_config), model)
            own = {f"{PEFT_PREFIX}{name}": shape for name, shape in self.own_shapes(model, whole).items()}
            stored = stored_shapes(folder)
            others = {name: shape for name, shape in stored.items() if f".{self.prefix}" not in name}
            beside = {name: shape for name, shape in others.items() if _is_of(model, name)}
            _compare_stored(stored, own | beside, model, peft_config, folder)

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
        """The tensors under the model's names: all of the adapter's, or PEFT would load some."""
        state = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        check_state(state, model, adapter_name, cls.prefix)
        return state


def load(model: nn.Module, folder: Path) -> PeftModel:
    """The model with the adapter of a folder.

    Raises:
        ValueError: the adapter is not whole, or is another model's; the model is as before.
    """
    config = PeftConfig.from_pretrained(str(folder))
    with peft_asking():
        if not isinstance(config, CheckedConfig):
            _check_by_attaching(model, config, folder)
        return PeftModel.from_pretrained(model, str(folder))


@contextmanager
def peft_asking() -> Iterator[None]:
    """PEFT asks transformers by a property's old name whenever it wraps a model, and knows no layer norm but torch's:
    nothing a user could act on.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Unsupported layer type '.*Norm'")
        yield


def _check_by_attaching(model: Any, config: PeftConfig, folder: Path) -> None:
    """Hold an adapter of PEFT's own methods against what is saved of it on such a model: PEFT's methods may change the
    weights of the one that they are attached to, and cannot all be taken off again.
    """
    config.base_model_name_or_path = None  # or PEFT would compare it with the model's
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            attached = get_peft_model(skeleton_of(model.config), config)
    except (NotImplementedError, RuntimeError):  # the method reads weights
        attached = get_peft_model(copy.deepcopy(model), config)
    state = get_peft_model_state_dict(attached, save_embedding_layers=False)
    stored = stored_shapes(folder, {name for name, tensor in state.items() if not tensor.is_floating_point()})
    _compare_stored(stored, {name: tuple(tensor.shape) for name, tensor in state.items()}, model, config, folder)


def _compare_stored(stored: Shapes, expected: Shapes, model: Any, config: PeftConfig, folder: Path) -> None:
    compare(
        stored,
        expected,
        f"{folder / SAFETENSORS_WEIGHTS_NAME}: not the adapter that its adapter_config.json describes for"
        f" {_said(model)}",
        f"load it on the backbone that it was trained on ({config.base_model_name_or_path or 'which it does not name'})"
        ", with the config that it was saved with",
    )


def _said(model: Any) -> str:
    """A model by its class and its sizes, where it has a config."""
    config, names = getattr(model, "config", None), ("hidden_size", "num_hidden_layers")
    sizes = [f"{name}={getattr(config, name)}" for name in names if hasattr(config, name)]
    return type(model).__name__ + (f" with {', '.join(sizes)}" if sizes else "")


def _is_of(model: nn.Module, name: str) -> bool:
    """Whether a saved tensor is one of the model's own, as embeddings and `modules_to_save` are: PEFT's to load."""
    path, _, parameter = name.removeprefix(PEFT_PREFIX).rpartition(".")
    modules = dict(model.named_modules())
    return path in modules and hasattr(modules[path], parameter)


def remember(config: PeftConfig, folder: str | Path, subfolder: str | None = None) -> PeftConfig:
    """The config with a note of the local folder that it was read from, for `check_remembered`."""
    path = Path(folder, subfolder or "")
    if path.is_dir():
        vars(config)[READ_FROM] = path
    return config


def check_state(state: dict[str, Tensor], model: nn.Module, adapter_name: str, prefix: str) -> None:
    """Raise a `ValueError` unless the adapter's tensors, under the model's names, are all that it has in the model."""
    compare(
        {name: tuple(tensor.shape) for name, tensor in state.items() if f".{prefix}" in name},
        {
            name: tuple(tensor.shape)
            for name, tensor in model.state_dict().items()
            if f".{prefix}" in name and name.endswith(f".{adapter_name}")
        },
        f"adapter {adapter_name}: the tensors to load are not those of the adapter in the model",
        "nothing was loaded; load them into an adapter of their own config",
    )


def stored_shapes(folder: Path, whole: Collection[str] = ()) -> Shapes:
    """The names and shapes of a folder's tensors, from the head of its safetensors file.

    Raises:
        ValueError: there is none, it is not whole, or a tensor that is not among `whole` (SHiRA's indices) does not
            hold floating-point numbers.
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
        if name not in whole and not kind.startswith(("F", "BF")):
            raise ValueError(f"{path}: {name} is of type {kind}; floating-point numbers are expected")
    return shapes


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
