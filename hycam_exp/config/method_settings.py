"""What the settings of every method have, wherever they are declared. Standard library only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hycam_exp.config.budget import closest
from hycam_exp.config.dimensions import Dimensions
from hycam_exp.runtime.require import require

TOLERANCE = 0.1
"""The largest difference from a budget, as a share of it, with which a method still counts as matched to it."""


@dataclass(kw_only=True)
class MethodSettings:
    """What every method has."""

    name: str
    match: Any = None
    """What the method's trained parameters are matched to, by its size: a number of parameters, or the settings of
    another method; null, as in runs before there was this field: nothing."""

    @property
    def size_fields(self) -> tuple[str, ...]:
        """What `match` changes: the first field is the size, and the others keep their ratio to it."""
        return ("rank", "alpha")

    @property
    def virtual_tokens(self) -> int:
        """Positions of the backbone that the method takes for itself."""
        return 0

    def check_width(self, width: int) -> None:
        """Raise a `ValueError` if the method does not fit a backbone of hidden size `width`."""

    def num_parameters(self, backbone: Dimensions) -> int:
        """How many parameters the method trains on a backbone, in closed form."""
        raise NotImplementedError

    def size_value(self, field: str) -> int:
        """The value of a field that is named in `size_fields`."""
        return int(getattr(self, field))

    def with_sizes(self, **values: Any) -> "MethodSettings":
        """The settings with other values of fields that are named in `size_fields`, and nothing to match."""
        return replace(self, match=None, **values)

    def resized(self, size: int) -> "MethodSettings":
        """The settings with another size."""
        first, *others = self.size_fields
        own = self.size_value(first)
        return self.with_sizes(
            **{first: size}, **{field: max(1, round(self.size_value(field) * size / own)) for field in others}
        )

    def budget(self, count: Callable[[Any], int]) -> int:
        """The number of parameters to match; `count` gives those of a method."""
        return self.match if isinstance(self.match, int) else count(self.match)

    def fitted(self, count: Callable[[Any], int]) -> "MethodSettings":
        """The settings with the size at which `count` comes closest to the budget; where nothing is matched, these.

        Raises:
            ValueError: no size comes within `TOLERANCE` of the budget.
        """
        if self.match is None:
            return self
        budget = self.budget(count)
        law = f"method={self.name} cannot train {budget:,} parameters"
        require(bool(self.size_fields), "method.match", self.match_shown, f"{law}: it has no size to choose")

        def allowed(size: int) -> int | None:
            try:
                return count(self.resized(size))
            except ValueError:
                return None

        size = closest(allowed, budget)
        require(
            size is not None, "method.match", self.match_shown, f"{law}: no {self.size_fields[0]} fits the backbone"
        )
        found = self.resized(size or 1)
        number = count(found)
        near = abs(number - budget) <= TOLERANCE * budget
        nearest = f"the closest are {number:,}, with {found.size_fields[0]}={size}"
        require(near, "method.match", self.match_shown, f"{law} within {TOLERANCE:.0%}: {nearest}")
        return found

    @property
    def match_shown(self) -> str:
        """What is matched, as the command line writes it."""
        return str(self.match) if isinstance(self.match, int) else str(self.match.name)

    def on(self, backbone: Dimensions) -> "MethodSettings":
        """The settings as they are attached to a backbone, by the closed form.

        Raises:
            ValueError: as `fitted`.
        """
        return self.fitted(lambda settings: settings.on(backbone).num_parameters(backbone))

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
