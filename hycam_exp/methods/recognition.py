"""Which modules of a Hugging Face causal model are a block's attention and layer norms, whatever its family."""

import re
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from hycam_exp.config.dimensions import Dimensions

_IN_BLOCK = re.compile(r"\.(\d+)\.\w+$")
_CROSS = re.compile(r"\.(encoder_attn|cross_?attn|cross_?attention|EncDecAttention)$", re.IGNORECASE)


def block_of(name: str) -> int | None:
    """The number of the block that a module stands in directly; None for any other module."""
    match = _IN_BLOCK.search(name)
    return int(match.group(1)) if match else None


def _of_class(model: nn.Module, suffix: str) -> dict[str, int]:
    """The full names, and blocks, of modules in a numbered block whose class, before wrapping, ends so.

    Of a model with several towers (vision, audio, an encoder), those of its text decoder alone, whose blocks lie less
    deep in it than a tower's; of a decoder with two attentions in a block, the one that does not read an encoder.
    """
    found = {
        name: block
        for name, module in model.named_modules()
        if (block := block_of(name)) is not None
        and type(plain := getattr(module, "base_layer", module)).__name__.endswith(suffix)
        and (suffix != "Attention" or (is_attention(plain) and not _CROSS.search(name)))
    }
    decoder = _text_decoder(model)
    own = {name: block for name, block in found.items() if name.startswith(decoder)} or found
    depth = min((name.count(".") for name in own), default=0)
    return {name: block for name, block in own.items() if name.count(".") == depth}


def _text_decoder(model: Any) -> str:
    """The name of a model's text decoder with a dot, where it is a part of the model; otherwise nothing."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    names = (name for name, module in model.named_modules() if module is decoder and name)
    return f"{name}." if (name := next(names, "")) else ""


def _names(model: nn.Module, suffix: str, problem: str) -> set[str]:
    """The last parts of the names of such modules, or their full names where others end so, too.

    Raises:
        ValueError: there are none; with the problem.
    """
    found = _of_class(model, suffix)
    if not found:
        raise ValueError(f"{type(model).__name__}: {problem}")
    last = {name.rsplit(".", 1)[-1] for name in found}
    alike = {name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in last and ".base_layer" not in name}
    return last if alike == set(found) else set(found)


def attention_modules(model: nn.Module) -> set[str]:
    """The name that a model's blocks give their attention module (self_attn, attn, attention).

    Raises:
        ValueError: no module of a numbered block has a class whose name ends in Attention.
    """
    return _names(model, "Attention", "no attention module recognised; name it with target_modules")


def mlp_modules(model: nn.Module) -> set[str]:
    """The full names of the feed-forward parts of a model's blocks.

    Raises:
        ValueError: no module of a numbered block has a class whose name ends in MLP.
    """
    if not (found := set(_of_class(model, "MLP"))):
        raise ValueError(f"{type(model).__name__}: no MLP recognised; name it with target_modules")
    return found


def mlp_linears(model: nn.Module) -> set[str]:
    """The full names of the linear layers in the feed-forward parts of a model's blocks.

    Raises:
        ValueError: no module of a numbered block has a class whose name ends in MLP, or none has linear layers.
    """
    mlps = tuple(f"{name}." for name in _of_class(model, "MLP"))
    found = {name for name, module in model.named_modules() if name.startswith(mlps) and isinstance(module, nn.Linear)}
    if not mlps or not found:
        raise ValueError(
            f"{type(model).__name__}: no linear layers of an MLP recognised; name them with target_modules"
        )
    return found


def hidden_size(model: Any) -> int:
    """The width of the residual stream of a model's text tower.

    Raises:
        ValueError: the model has no config that says so.
    """
    config: Any = getattr(model, "config", None)
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if not isinstance(width := getattr(text_config, "hidden_size", None), int):
        raise ValueError(f"{type(model).__name__}: its config has no hidden_size")
    return width


def is_attention(module: nn.Module) -> bool:
    """Whether a module is attention, before wrapping: so named, and given a mask, unlike a recurrent mixer (RWKV's)."""
    named = re.search(r"Attention|Attn", type(module).__name__) is not None
    return named and any("mask" in name for name in signature(module.forward).parameters)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a layer norm by its class's name."""
    return type(module).__name__.endswith("Norm")


def adds_residual(attention: nn.Module) -> bool:
    """Whether an attention module gives out the residual stream with its own output added (BLOOM, BERT and its kin):
    it, or a module in it, is handed the stream under one of the names that this has in transformers.
    """
    return any({"residual", "input_tensor"} & signature(m.forward).parameters.keys() for m in attention.modules())


def num_blocks(model: nn.Module) -> int:
    """How many blocks a model has, whatever its attention is called.

    Raises:
        ValueError: its modules stand in no numbered block.
    """
    numbers = [int(match.group(1)) for name, _ in model.named_modules() if (match := re.search(r"\.(\d+)\.", name))]
    if not numbers:
        raise ValueError(f"{type(model).__name__}: its modules stand in no numbered block")
    return 1 + max(numbers)


def has_position_embeddings(model: Any) -> bool:
    """Whether each position has an embedding (GPT-2; OPT, which has two more): beyond the last there is none."""
    inputs, positions = model.get_input_embeddings(), getattr(model.config, "max_position_embeddings", None)
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding) and m is not inputs]
    return positions is not None and any(positions <= size <= positions + 2 for size in tables)


def layer_norms(model: nn.Module) -> set[str]:
    """The names that a model's blocks give their layer norms; the final norm stands in no block.

    Raises:
        ValueError: no module of a numbered block has a class whose name ends in Norm.
    """
    return _names(model, "Norm", "train_layer_norms is set, and no block has a layer norm")


def vectors(model: nn.Module) -> set[str]:
    """The names of the parameters that are vectors, or stacks of them: biases, scales, and the weights of norms.

    They are told by what they are: a stack of biases, one of each specialized CAM or expert, has a matrix's dimensions.
    """
    modules = dict(model.named_modules())
    return {name for name, parameter in model.named_parameters() if _is_vector(name, parameter, modules)}


def _is_vector(name: str, parameter: Tensor, modules: dict[str, nn.Module]) -> bool:
    path, _, last = name.rpartition(".")
    if isinstance(modules[path], nn.ParameterDict):  # a tuner's tensors of one name, by adapter
        path, _, last = path.rpartition(".")
    owner = modules[path]
    stacked = last.endswith("bias") or last in getattr(owner, "stacked_vectors", ())
    return is_norm(owner) or stacked or len(shape_of(parameter)) <= 1


def float_parameter(module: nn.Module) -> Tensor:
    """A floating-point weight of an attention module, its output projection's where it has that name.

    Where all are quantised, an empty tensor of the dtype that adapters have then.
    """
    named = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
    if not named:
        return torch.empty(0, device=next(module.parameters()).device)
    return next((p for name, p in named.items() if name.startswith("o_proj")), next(iter(named.values())))


def shape_of(parameter: Tensor) -> torch.Size:
    """A parameter's shape, also where DeepSpeed keeps its entries on other ranks, or it is quantised and packed."""
    quantised = getattr(parameter, "quant_state", None)
    return getattr(parameter, "ds_shape", parameter.shape) if quantised is None else quantised.shape


def size_of(parameter: Tensor) -> int:
    """A parameter's number of entries, as `shape_of`."""
    return shape_of(parameter).numel()


def dimensions(model: nn.Module) -> Dimensions:
    """A backbone's sizes."""
    config: Any = model.config
    found, blocks = dict(model.named_modules()), num_blocks(model)
    norms = [0] * blocks
    for name, block in _of_class(model, "Norm").items():
        norms[block] += sum(size_of(p) for p in found[name].parameters())
    linears = {
        name: (m.in_features, m.out_features)
        for name, m in found.items()
        if isinstance(m, nn.Linear) and re.search(r"\.\d+\.", name)
    }
    mlps = tuple(f"{name}." for name in _of_class(model, "MLP"))
    return Dimensions(
        width=config.hidden_size,
        num_blocks=blocks,
        linears=tuple(linears.values()),
        mlp_linears=tuple(sizes for name, sizes in linears.items() if name.startswith(mlps)),
        norms=tuple(norms),
        parameters=sum(size_of(p) for p in model.parameters()),
    )
