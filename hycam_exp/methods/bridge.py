"""PEFT registration of methods that live here: PEFT knows its methods by an enum, which is extended first."""

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import register_peft_method
from peft.utils.peft_types import PeftType


def register(name: str, config: type[PeftConfig], model: type[BaseTuner]) -> None:
    """Make `name` a PEFT type, so that get_peft_model, save_pretrained and from_pretrained know it."""
    if name.upper() not in PeftType.__members__:
        _extend(name.upper())
        register_peft_method(name=name, config_cls=config, model_cls=model, prefix=model.prefix)


def _extend(member: str) -> None:
    """Add a member to the enum `PeftType`, as the class statement would have."""
    value = str.__new__(PeftType, member)
    value._name_, value._value_ = member, member
    setattr(value, "_sort_order_", len(PeftType._member_names_))  # noqa: B010
    type.__setattr__(PeftType, member, value)
    PeftType._member_names_.append(member)
    PeftType._member_map_[member] = value
    PeftType._value2member_map_[member] = value
