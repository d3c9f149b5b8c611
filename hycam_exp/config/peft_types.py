"""The settings of PEFT's own methods, whichever the installed PEFT has: a type by PEFT's name, fields of its config.

Standard library only: what PEFT itself says of them is asked in `methods.peft_types`, before any weight is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hycam_exp.config.dimensions import Dimensions
from hycam_exp.config.method_settings import MethodSettings
from hycam_exp.runtime.require import require

PREFIXES = ("PREFIX_TUNING", "CARTRIDGE")
"""Types whose trained keys and values stand in the cache, before those of the text."""
REFUSED = {
    "POLY": "asks for the task of every row in a form of its own; method=mtl_lora and method=moelora are told it here",
    "XLORA": "mixes adapters that were trained before, and a cell trains one",
    "SHADOW": "gives out two sets of logits",
}
"""Types that no cell can train, each with the reason."""
_SUMMED = "hands out no whole gradient, which AdaLoRA's allocation of ranks reads after every step"
PECULIAR: dict[str, dict[str, Any]] = {
    "ADALORA": {"unshardable": {"zero1": _SUMMED, "zero2": _SUMMED}},
    **{name: {"recomputable": False} for name in PREFIXES},
}
"""What of the facts about `method=peft` (`config.methods.Method`) is otherwise for a type."""


@dataclass(kw_only=True)
class PEFTSettings(MethodSettings):
    """Any method that the installed PEFT registers."""

    type: str
    """PEFT's name of it, e.g. LORA."""
    config: dict[str, Any]
    """Fields of its config class; those that are not named keep PEFT's defaults."""
    sized_by: list[str]
    """The fields of `config` that `method.match` changes: the first is chosen, the others keep their ratio to it."""

    def __post_init__(self) -> None:
        require(self.type not in REFUSED, "method.type", self.type, REFUSED.get(self.type, ""))
        for field in self.sized_by:
            whole = type(self.config.get(field)) is int and self.config[field] > 0
            require(whole, "method.sized_by", field, "must be a field of method.config that is a positive whole number")

    @property
    def facts(self) -> Mapping[str, Any]:
        """What of the facts about `method=peft` is otherwise for this type."""
        return PECULIAR.get(self.type, {})

    @property
    def size_fields(self) -> tuple[str, ...]:
        """Fields of PEFT's config."""
        return tuple(self.sized_by)

    @property
    def virtual_tokens(self) -> int:
        """The positions of a prefix."""
        return int(self.config.get("num_virtual_tokens") or 0) if self.type in PREFIXES else 0

    def num_parameters(self, backbone: Dimensions) -> int:
        """Not known in closed form.

        Raises:
            ValueError: always; `methods.budget` counts on a skeleton of the backbone.
        """
        raise ValueError(f"method={self.name}: what PEFT's {self.type} trains is not known in closed form")

    def on(self, backbone: Dimensions) -> MethodSettings:
        """The settings as they are.

        Raises:
            ValueError: they are matched, and there is no closed form.
        """
        if self.match is not None:
            self.num_parameters(backbone)
        return self

    def size_value(self, field: str) -> int:
        """As PEFT's config has it."""
        return int(self.config[field])

    def with_sizes(self, **values: Any) -> MethodSettings:
        """The settings with other values in PEFT's config."""
        return replace(self, match=None, config={**self.config, **values})
