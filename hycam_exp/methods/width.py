"""The width of adapted layers, which a rank should not exceed."""

import warnings

from torch import nn


def warn_above_width(method: str, rank: int, adapted: nn.Module, layer: type) -> None:
    """Warn if the rank is above the width of adapted layers (modules of type `layer`), with their names."""
    narrow = [
        name
        for name, module in adapted.named_modules()
        if isinstance(module, layer) and min(module.in_features, module.out_features) < rank  # type: ignore[attr-defined]
    ]
    if narrow:
        shown = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in narrow}))
        warnings.warn(f"{method}'s rank {rank} is above the width of {len(narrow)} layers: {shown}", stacklevel=3)
