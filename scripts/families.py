"""HyCAM on a tiny random model of every causal family that transformers registers: right, or refused in one line.

python -m scripts.families [FAMILY ...] [--out docs/families.md]
"""

import copy
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.methods.hycam_layer import HyCAMLayer
from hycam_exp.methods.modulation_limits import remarks
from hycam_exp.methods.recognition import num_blocks
from hycam_exp.runtime.command_line import Parser

FAMILIES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
TAU, NUM = 0.5, 2
SMALL = {
    32: "hidden_size n_embd d_model word_embed_proj_dim embedding_size lru_width dim attention_hidden_size"
    " embedding_dim",
    48: "intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim",
    64: "vocab_size max_position_embeddings n_positions n_ctx vocab_size_per_layer_input decoder_vocab_size",
    16: "moe_intermediate_size shared_expert_intermediate_size attention_window_size sliding_window",
    8: "head_dim q_lora_rank kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim state_size mamba_d_state"
    " mamba_n_heads mamba_d_head ssm_state_size attention_head_size rotary_dim hidden_size_per_layer_input"
    " linear_key_head_dim linear_value_head_dim kv_channels mamba_num_heads mamba_head_dim",
    4: "num_attention_heads n_head n_heads decoder_attention_heads encoder_attention_heads num_experts"
    " num_local_experts n_routed_experts linear_num_value_heads laurel_rank moe_num_experts num_heads",
    2: "num_key_value_heads decoder_layers encoder_layers num_experts_per_tok moe_topk mamba_expand"
    " linear_num_key_heads moe_k",
    1: "n_shared_experts n_group topk_group first_k_dense_replace mamba_n_groups num_hidden_groups num_global_layers"
    " num_shared_experts bos_token_id",
    0: "pad_token_id num_kv_shared_layers",
}
LAYERS = "num_hidden_layers n_layer n_layers"
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"num_key_value_heads": 4},  # latent attention has as many as queries
    {"num_heads": 8},
    {"num_hidden_layers": 4},
    {"num_hidden_layers": 8},
    {"num_hidden_layers": 12},
)

GIVEN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"head_dim": 8},
    "reformer": {"is_decoder": True},
}
"""Of some families what a config must be given from the start."""

TOO_LARGE = ("blt",)


@dataclass(frozen=True)
class Outcome:
    """What became of a family."""

    family: str
    kind: str
    """right, refused, wrong, or not built."""
    said: str
    """The error of a refusal; what is wrong; why it was not built; of a right one how many blocks are modulated."""


def build(family: str) -> Any:
    """A tiny random model of a family that runs: its own default config, with every size that it has made small."""
    problems = []
    for cache, variant in product((True, False), VARIANTS):  # with a cache hybrids want an attention layer
        torch.manual_seed(0)
        try:
            if family in TOO_LARGE:
                raise RuntimeError("not small: its sizes have names of their own")
            config = _small(CONFIG_MAPPING[family](**GIVEN.get(family, {})), variant)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
            if not torch.isfinite(_logits(model, cache)).all():
                raise RuntimeError("its logits are not finite")
            return model
        except Exception as error:  # whatever a family's own code raises for sizes that do not fit
            problems.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    raise ValueError(problems[0])


def _small(config: Any, variant: dict[str, Any], depth: int = 0) -> Any:
    sizes = {name: size for size, names in SMALL.items() for name in names.split()}
    sizes |= dict.fromkeys(LAYERS.split(), variant.get("num_hidden_layers", 2)) | variant
    for name, size in sizes.items():
        try:
            if type(getattr(config, name, None)) is int:
                setattr(config, name, size)
        except Exception:
            continue
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and "layer" in name and "type" in name:
            setattr(config, name, value[: sizes["num_hidden_layers"]])
        if hasattr(value, "to_dict") and depth < 2:
            _small(value, variant, depth + 1)
    return config


def _ids(rows: int = 1) -> Tensor:
    return torch.randint(3, 64, (rows, 9), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def _logits(model: Any, use_cache: bool = False) -> Tensor:
    return model(input_ids=_ids(), use_cache=use_cache).logits


def outcome(family: str) -> Outcome:
    """Build, attach, and hold against everything that a right family fulfils."""
    try:
        model = build(family)
    except ValueError as error:
        return Outcome(family, "not built", str(error))
    try:
        adapted = get_peft_model(copy.deepcopy(model), _config())
    except ValueError as error:
        one_line = "\n" not in str(error)
        return Outcome(family, "refused" if one_line else "wrong", str(error))
    try:
        problems = list(_problems(model, adapted))
    except Exception as error:  # the family's own code, met by what HyCAM changed
        problems = [f"{type(error).__name__}: {error}".splitlines()[0]]
    if problems:
        return Outcome(family, "wrong", "; ".join(problems))
    return Outcome(
        family,
        "right",
        "; ".join([f"{len(_layers(adapted))} of {num_blocks(model)} blocks", *remarks(adapted)]),
    )


def _config() -> HyCAMConfig:
    return HyCAMConfig(task_type="CAUSAL_LM", r=4, num_specialized=NUM, tau=TAU)


def _layers(model: Any) -> list[HyCAMLayer]:
    return [module for module in model.modules() if isinstance(module, HyCAMLayer)]


def _problems(model: Any, adapted: Any) -> Iterator[str]:
    """What does not hold of an adapted model, from its attachment on."""
    if not torch.equal(_logits(adapted.eval()), _logits(model)):
        yield "not the identity at first"
    if adding := [type(layer.base_layer).__name__ for layer in _layers(adapted) if _adds_its_input(adapted, layer)]:
        yield f"{adding[0]} gives out its input as well"
    _perturb(adapted)
    if not torch.allclose(_logits(adapted), _reference(model, adapted), rtol=1e-4, atol=1e-5):
        yield "logits differ from those of the equations, hooked into the model"
    adapted.train()
    adapted(input_ids=_ids(), labels=_ids(), use_cache=False).loss.backward()
    if still := [n for n, p in adapted.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]:
        yield f"{len(still)} trained tensors without a gradient ({still[0]})"
    adapted.zero_grad()
    adapted.eval()
    if _cache_matters(model) is False and _cache_matters(adapted):
        yield "tokens differ with and without cache"
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        if not torch.equal(_logits(PeftModel.from_pretrained(copy.deepcopy(model), folder).eval()), _logits(adapted)):
            yield "loaded, its logits differ"


@torch.no_grad()
def _adds_its_input(adapted: Any, layer: HyCAMLayer) -> bool:
    """Whether an attention module whose own weights are all zero still gives out something."""
    bare = copy.deepcopy(adapted)
    twin = dict(bare.named_modules())[next(name for name, module in adapted.named_modules() if module is layer)]
    for parameter in twin.base_layer.parameters():
        parameter.zero_()
    seen: list[Tensor] = []
    twin.base_layer.register_forward_hook(
        lambda _, args, out: seen.append(out[0] if isinstance(out, tuple | list) else out)
    )
    _logits(bare)
    return any(bool(tensor.any()) for tensor in seen)


def _perturb(model: Any) -> None:
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)


def _reference(model: Any, adapted: Any) -> Tensor:
    """The logits of the base model with the paper's equations, tensor by tensor, hooked into its attention modules."""
    plain = copy.deepcopy(model)
    modules = dict(plain.named_modules())
    for name, layer in adapted.get_base_model().named_modules():
        if isinstance(layer, HyCAMLayer):
            weights = {key: getattr(layer, f"hycam_{key}")["default"] for key in ("shared", "a", "n", "b", "router")}
            modules[name].register_forward_hook(_equations(weights), with_kwargs=True)
    return _logits(plain)


def _equations(w: dict[str, Tensor]) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        h = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        p = torch.softmax(h @ w["router"].T / TAU, dim=-1)
        a = F.silu(h @ w["shared"])
        for k in range(NUM):
            a = a + p[..., k : k + 1] * F.silu(h @ (w["b"][k] @ w["n"][k] @ w["a"][k]).T)
        return type(out)((out[0] * (1 + a), *out[1:])) if isinstance(out, tuple | list) else out * (1 + a)

    return hook


@torch.no_grad()
def _cache_matters(model: Any) -> bool | None:
    """Whether greedy decoding with a cache gives other tokens than without; None where the family cannot so small."""
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(_ids())}
    try:
        found = [model.generate(input_ids=_ids(), use_cache=cache, **options) for cache in (True, False)]
    except Exception:
        if isinstance(model, PeftModel):
            raise
        return None
    return not torch.equal(*found)


def page(outcomes: list[Outcome]) -> str:
    """The table of docs/families.md."""
    counts = ", ".join(f"{sum(o.kind == kind for o in outcomes)} {kind}" for kind in KINDS)
    rows = [f"| {o.family} | {o.kind} | {o.said.replace('|', '/')} |" for o in sorted(outcomes, key=_order)]
    return "\n".join([HEAD.format(version=transformers.__version__, counts=counts), *rows, ""])


KINDS = ("right", "refused", "wrong", "not built")
HEAD = """# HyCAM on every causal family

`python -m scripts.families` writes this page: of every causal family of transformers {version} a tiny random model, its
default config made small. Right: the identity at first bit for bit, logits equal to the paper's equations hooked into
the model, attention that does not give out its input, a gradient at every trained tensor, the same tokens with and
without cache, and the same logits after saving and loading. Refused: in one line, before anything is attached.

In a decoder with cross-attention only its self-attention is modulated; of a model with several towers only the text
decoder; of a hybrid only the blocks with attention, and attaching says how many. Where a norm follows attention and
swallows a uniform scale, or attention reads the stream itself and no norm's output, modulation is computed as ever
and is not what the paper means: the table says so, and so does a note in the record of a run.

{counts}.

| family | | |
| --- | --- | --- |"""


def _order(outcome: Outcome) -> tuple[int, str]:
    return KINDS.index(outcome.kind), outcome.family


def main() -> None:
    """Try the families, print each, and write the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("docs/families.md"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    outcomes = []
    for family in arguments.families or FAMILIES:
        outcomes.append(outcome(family))
        print(f"{family}: {outcomes[-1].kind}: {outcomes[-1].said}", flush=True)
    if not arguments.families:
        arguments.out.write_text(page(outcomes))


if __name__ == "__main__":
    main()
