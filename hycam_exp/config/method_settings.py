"""What the settings of every method have, wherever they are declared. Standard library only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hycam_exp.config.dimensions import Dimensions


def require(holds: bool, field: str, value: object, law: str) -> None:
    """Raise a `ValueError` that names the field, its value and the law it breaks."""
    if not holds:
        raise ValueError(f"{field}={value}: {law}")


@dataclass(kw_only=True)
class MethodSettings:
    """What every method has."""

    name: str

    def check_width(self, width: int) -> None:
        """Raise a `ValueError` if the method does not fit a backbone of hidden size `width`."""

    def num_parameters(self, backbone: Dimensions) -> int:
        """How many parameters the method trains on a backbone, in closed form."""
        raise NotImplementedError

    def facts(self, backbone: Callable[[], Dimensions]) -> dict[str, int]:
        """What the method decides by the backbone, for the record; its sizes are asked for where they are needed."""
        return {}

    def require_positive(self, *fields: str) -> None:
        """Raise a `ValueError` that names the first of these fields that is below 1."""
        for field in fields:
            require(getattr(self, field) >= 1, f"method.{field}", getattr(self, field), "must be at least 1")


def require_tasks(name: str, tasks: Sequence[str]) -> None:
    """Raise a `ValueError` unless a method that is told the task has several, each named once."""
    shown = f"[{', '.join(tasks)}]"
    require(len(set(tasks)) == len(tasks), "method.tasks", shown, "must name each task once")
    require(
        len(tasks) > 1, "method.tasks", shown, f"method={name} is told the task, which says nothing of a single one"
    )
