"""A method's settings held against a backbone, before any weight: that it fits, and the size that a budget asks for."""

from typing import Any

from hycam_exp.config.method_settings import MethodSettings
from hycam_exp.config.peft_types import PEFTSettings
from hycam_exp.methods import peft_types
from hycam_exp.methods.recognition import dimensions
from hycam_exp.models.load import skeleton_of


def prepared(settings: MethodSettings, config: Any) -> tuple[MethodSettings, dict[str, int]]:
    """The settings as they are attached to a backbone of this Hugging Face config, and what was chosen for that: the
    size, and the number of parameters that it matches.

    Raises:
        ValueError: PEFT refuses a type or its config on such a backbone, or no size matches the budget.
    """
    own = isinstance(settings, PEFTSettings)
    if settings.match is None and not own:
        return settings, {}
    skeleton = skeleton_of(config)
    sizes = dimensions(skeleton)

    def count(of: Any) -> int:
        if not isinstance(of, PEFTSettings):
            return of.on(sizes).num_parameters(sizes)
        if of.match is None:
            return peft_types.count(of, skeleton)
        return count(of.fitted(count))

    try:
        if isinstance(settings, PEFTSettings):
            peft_types.count(settings, skeleton)
        fitted = settings.fitted(count)
    except peft_types.NeedsWeights as error:
        if settings.match is None:
            return settings, {}  # what does not fit is seen when it is attached
        law = f"PEFT's type cannot be counted without weights ({error}); set method.config.* yourself"
        raise ValueError(f"method.match={settings.match_shown}: {law}") from error
    if settings.match is None:
        return settings, {}
    size = fitted.size_fields[0]
    return fitted, {size: fitted.size_value(size), "parameters_matched": settings.budget(count)}
