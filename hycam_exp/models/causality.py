"""Is a model causal? A changed last token may move no earlier logits, and none of the other texts of its batch.

An encoder that is trained to predict its next token sees that token: its perplexity says nothing.
"""

from __future__ import annotations

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
    training = model.training
    model.eval()
    with torch.no_grad():
        first = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits  # (2, T, V)
        largest, earlier, other_text = first.abs().max(), [], []
        for step in torch.randint(1, vocabulary, (CHANGES,), generator=draws).tolist():
            changed = ids.clone()
            changed[0, -1] = (ids[0, -1] + step) % vocabulary
            moved = (model(input_ids=changed, attention_mask=torch.ones_like(ids)).logits - first).abs()  # (2, T, V)
            earlier.append(moved[0, :-1].max())
            other_text.append(moved[1].max())
    model.train(training)
    return Movement(
        earlier=float(torch.stack(earlier).max() / largest),
        other_text=float(torch.stack(other_text).max() / largest),
        rounding=ROUNDING * torch.finfo(first.dtype).eps,
    )


def check_causal(model: Any, settings: ModelSettings) -> None:
    """Look at a backbone as it computes.

    Raises:
        ValueError: a position sees what comes after it, or one text of a batch another.
    """
    moved = movement(model)
    for share, what in ((moved.earlier, "those of earlier positions"), (moved.other_text, "those of another text")):
        if not share <= moved.rounding:  # nor is what is no number
            raise ValueError(
                f"{named(settings)}: model_type={model.config.model_type} is no causal decoder: another last token "
                f"of a text moves the logits, {what} by {share:.1%} of the largest, so that answers are seen before "
                "they are predicted; give a decoder"
            )
