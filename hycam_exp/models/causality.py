"""Is a model causal? A changed last token may move no earlier logits, and none of the other texts of its batch.

An encoder that is trained to predict its next token sees that token: its perplexity says nothing. So does a method that
averages over positions, or over the texts of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hycam_exp.models.files import named

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from hycam_exp.config.settings import ModelSettings

KNOWN = frozenset(
    ("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "olmo2", "granite", "gpt2", "gpt_neox")
)
"""Model types that are not looked at before every run, since the tests look at each of them."""
LENGTH = 6  # tokens of a text; few, so that a position that is seen and should not be weighs much
CHANGES = 4  # tokens that are tried in the last place
NOISE = 0.02  # deviation by which what a method trains is moved: where it starts as zero nothing can be seen
START = 1e-4  # share of the largest logit that rounding explains where a weight is written anew, as a sum (PiSSA)
ROUNDING = 8  # units of the logits' last digit, at the largest: experts may be computed in other company


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How far logits move at most when the last token of the first text is changed, as a share of the largest."""

    earlier: float
    """At the positions before it."""
    other_text: float
    """In the batch's second text."""
    rounding: float
    """What the logits' number format explains."""


def is_known(config: PreTrainedConfig) -> bool:
    """The model type is one of the `KNOWN`, and no field of the config undoes its causal mask."""
    undone = getattr(config, "is_causal", True) is False or getattr(config, "use_bidirectional_attention", False)
    return config.model_type in KNOWN and not undone


def movement(model: Any) -> Movement:
    """Compute a batch of two texts, with several tokens in the last place of the first, and compare the logits."""
    import torch

    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    draws = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (2, LENGTH), generator=draws).to(model.device)  # (2, T)
    with looking(model):
        first = _logits(model, ids)
        largest, earlier, other_text = first.abs().max(), [], []
        for step in torch.randint(1, vocabulary, (CHANGES,), generator=draws).tolist():
            changed = ids.clone()
            changed[0, -1] = (ids[0, -1] + step) % vocabulary
            moved = (_logits(model, changed) - first).abs()  # (2, T, V)
            earlier.append(moved[0, :-1].max())
            other_text.append(moved[1].max())
    return Movement(
        earlier=float(torch.stack(earlier).max() / largest),
        other_text=float(torch.stack(other_text).max() / largest),
        rounding=ROUNDING * torch.finfo(first.dtype).eps,
    )


def first_logits(model: Any) -> Any:
    """The logits (2, T, V) of the texts that `movement` looks at first."""
    import torch

    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.randint(vocabulary, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    with looking(model):
        return _logits(model, ids.to(model.device))


def other_start(adapted: Any, plain: Any, method: str) -> str | None:
    """That a method does not start as the backbone, whose `first_logits` are given; None where it does."""
    share = float((first_logits(adapted) - plain).abs().max() / plain.abs().max())
    if share <= START:
        return None
    return (
        f"method={method} does not start as the backbone: before the first step it moves logits by up to {share:.1%} of"
        " the largest"
    )


@contextmanager
def looking(model: Any) -> Iterator[None]:
    """Without gradients, in evaluation, and with the random generator as it was afterwards."""
    import torch

    training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        model.train(training)


def _logits(model: Any, ids: Any) -> Any:
    import torch

    torch.manual_seed(0)  # a method may draw noise, and draws the same each time
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits  # (2, T, V)


def check_causal(model: Any, settings: ModelSettings) -> None:
    """Look at a backbone as it computes.

    Raises:
        ValueError: a position sees what comes after it, or one text of a batch another.
    """
    if leak := _leak(model):
        kind = f"model_type={model.config.model_type} is no causal decoder"
        raise ValueError(f"{named(settings)}: {kind}: {leak}; give a decoder")


def check_method(adapted: Any, method: str) -> None:
    """Look at a causal backbone as it computes with a method attached, whose trained tensors are moved meanwhile.

    Raises:
        ValueError: with the method a position sees what comes after it, or one text of a batch another.
    """
    with _moved(adapted):
        leak = _leak(adapted)
    if leak:
        raise ValueError(f"method={method} does not leave the backbone causal: {leak}; choose another method")


def _leak(model: Any) -> str | None:
    """What is seen that should not be, in words; None where nothing is."""
    moved = movement(model)
    for share, what in ((moved.earlier, "those of earlier positions"), (moved.other_text, "those of another text")):
        if not share <= moved.rounding:  # nor is what is no number
            return (
                f"another last token of a text moves the logits, {what} by {share:.1%} of the largest, so that "
                "answers are seen before they are predicted"
            )
    return None


@contextmanager
def _moved(model: Any) -> Iterator[None]:
    """What is trained lies elsewhere inside, by a draw that is the same each time, and where it was afterwards."""
    import torch

    kept = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
    draws = torch.Generator().manual_seed(0)
    for parameter, value in kept:
        noise = torch.randn(value.shape, generator=draws, dtype=torch.float32)
        parameter.data += NOISE * noise.to(value)
    try:
        yield
    finally:
        for parameter, value in kept:
            parameter.data.copy_(value)
