"""PEFT's own methods, whichever the installed PEFT registers: asked of PEFT itself, before any weight is loaded.

AdaLoRA (arXiv 2303.10512) is y = W x + (alpha / r) B diag(e) A x. What else it wants is here and in
`training.rank_allocation`: B and A are held near orthogonal by a term of the loss, and e is cut down during training.
"""

import copy
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from peft import AdaLoraModel, PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch import Tensor, nn

from hycam_exp.config.errors import guess
from hycam_exp.config.peft_types import PREFIXES, PEFTSettings
from hycam_exp.methods.adapter_file import peft_asking
from hycam_exp.methods.recognition import size_of
from hycam_exp.runtime.require import require

OURS = ("peft_type", "task_type", "inference_mode", "base_model_name_or_path")
"""Fields of every config that follow from what a cell is."""
ADJUSTED = "Invalid `oft_block_size`"  # PEFT's warning that it takes another value than it was given
MOST_ZEROS = 500_000_000  # parameters of a backbone, up to which one of zeros may be made for a type that reads weights


class NeedsWeights(Exception):
    """A type reads the backbone's weights when it is attached, so that a skeleton without any says nothing of it."""


def config_class(settings: PEFTSettings) -> type[PeftConfig]:
    """The class of a type's config.

    Raises:
        ValueError: the installed PEFT has no such type; names the nearest.
    """
    known = {
        str(kind.value): config
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if config.__module__.startswith("peft.")
    }
    near = guess(get_close_matches(settings.type.upper(), known), sorted(known))
    require(settings.type in known, "method.type", settings.type, f"PEFT {version('peft')} has no such type; {near}")
    return known[settings.type]


def peft_config(settings: PEFTSettings) -> PeftConfig:
    """The config as PEFT has it.

    Raises:
        ValueError: the type is unknown or cannot be trained here, a field is unknown or of another type than PEFT says,
            or PEFT refuses a value.
    """
    of_type = config_class(settings)
    fields = {name: hint for name, hint in get_type_hints(of_type).items() if name not in OURS}
    for name, value in settings.config.items():
        near = guess(get_close_matches(name, fields), sorted(fields))
        key, law = f"method.config.{name}", f"PEFT's {of_type.__name__} has no such field to set; {near}"
        require(name not in OURS, key, value, "follows from what a cell is")
        require(name in fields, key, value, law)
        require(_is_of(value, fields[name]), key, value, f"PEFT's {of_type.__name__} wants {_said(fields[name])}")
    with _one_line(settings):
        config: Any = of_type(task_type="CAUSAL_LM", **copy.deepcopy(settings.config))
    if config.is_prompt_learning:
        law = "puts tokens of its own before the text, so that logits and targets are not of the same positions"
        require(settings.type in PREFIXES, "method.type", settings.type, f"{law}; PREFIX_TUNING does not")
    if settings.type == "ADALORA":
        law = f"must be below method.config.init_r={config.init_r}, from which ranks are cut down to it"
        require(config.target_r < config.init_r, "method.config.target_r", config.target_r, law)
    return config


def attach(model: nn.Module, settings: PEFTSettings) -> nn.Module:
    """The model with one of PEFT's methods.

    Raises:
        ValueError: as `peft_config`, or the type does not fit the model.
    """
    config = peft_config(settings)
    with _one_line(settings):
        return get_peft_model(model, config)


def count(settings: PEFTSettings, skeleton: nn.Module) -> int:
    """How many parameters a type trains on a backbone, of which `skeleton` has all but the numbers.

    Raises:
        ValueError: as `attach`, or nothing is trained.
        NeedsWeights: only weights would tell.
    """
    with peft_asking(), torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                attached = attach(copy.deepcopy(skeleton), settings)
        except (NotImplementedError, RuntimeError) as error:
            if sum(map(size_of, skeleton.parameters())) > MOST_ZEROS:
                raise NeedsWeights(str(error)) from error
            attached = attach(_of_zeros(skeleton), settings)
    found = sum(size_of(p) for p in attached.parameters() if p.requires_grad)
    require(found > 0, "method.config", settings.config, f"with these PEFT's {settings.type} trains nothing")
    return found


def _of_zeros(skeleton: nn.Module) -> nn.Module:
    model = copy.deepcopy(skeleton).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


def orthogonality(tuner: AdaLoraModel) -> Tensor:
    """AdaLoRA's term of the loss: the mean of |A A^T - 1| and |B^T B - 1| (Frobenius) over all A and B, weighted."""
    config: Any = tuner.peft_config[tuner.trainable_adapter_name]
    norms = []
    for name, parameter in tuner.model.named_parameters():
        if parameter.requires_grad and ("lora_A" in name or "lora_B" in name):
            rows = parameter if "lora_A" in name else parameter.T  # (r, in or out)
            norms.append(torch.linalg.matrix_norm(rows @ rows.T - torch.eye(len(rows)).to(rows)))
    return config.orth_reg_weight * torch.stack(norms).mean()


@contextmanager
def _one_line(settings: PEFTSettings) -> Iterator[None]:
    """PEFT's refusals as a user's mistake in one line, and so the values that it would not take as they are."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=ADJUSTED)
            yield
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, UserWarning) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"method={settings.name}: PEFT's {settings.type} refuses: {said}") from error


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value from YAML can be what an annotation says; of containers the kind alone is looked at."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return any(_is_of(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in (int, float, bool, str):
        return type(value) in ((int, float) if origin is float else (origin,))
    if origin in (list, set, tuple):
        return isinstance(value, list)
    if hint is type(None):
        return value is None
    return isinstance(value, dict) if origin is dict else True


def _said(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
