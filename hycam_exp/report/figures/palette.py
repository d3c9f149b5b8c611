"""A colour, marker and line for each method and task, the same in every figure.

Colours are Okabe and Ito's, which the colour-blind tell apart; markers and lines say the same without colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hycam_exp.report import titles

BLACK, GREY = "#000000", "#777777"
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, OLIVE, WINE = "#D55E00", "#CC79A7", "#7A7A1F", "#882255"


@dataclass(frozen=True)
class Look:
    """The name, colour, marker and line that a method or a task has in every figure."""

    name: str
    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]] = "-"
    hollow: bool = False

    @property
    def face(self) -> str:
        """The fill of a marker."""
        return "white" if self.hollow else self.colour


METHODS = {
    "full_ft": Look(titles.method("full_ft"), BLACK, "s", "--"),
    "lora": Look(titles.method("lora"), BLUE, "^", "-."),
    "lora_matched": Look(titles.method("lora_matched"), PURPLE, "p", "-."),
    "multi_lora": Look(titles.method("multi_lora"), SKY, "D", ":"),
    "riemoe_lora": Look(titles.method("riemoe_lora"), GREEN, "v", (0, (5, 1, 1, 1, 1, 1))),
    "hycam": Look(titles.method("hycam"), VERMILION, "o", "-"),
    "hycam_shared_only": Look(titles.method("hycam_shared_only"), ORANGE, "P", "--"),
    "hycam_full_spec": Look(titles.method("hycam_full_spec"), PURPLE, "X", ":"),
    "hycam_spec_only": Look(titles.method("hycam_spec_only"), GREY, "<", "-."),
    "hycam_inverse_peft": Look(titles.method("hycam_inverse_peft"), OLIVE, ">", (0, (5, 1, 1, 1, 1, 1))),
    "hycam_released": Look(titles.method("hycam_released"), WINE, "*", "--"),
}
TASKS = {
    "auto_cot": Look(titles.TASKS["auto_cot"], BLUE, "o"),
    "icliniq": Look(titles.TASKS["icliniq"], ORANGE, "^"),
    "dolly": Look(titles.TASKS["dolly"], GREEN, "s"),
    "code_alpaca": Look(titles.TASKS["code_alpaca"], VERMILION, "D"),
    "web_gpt": Look(titles.TASKS["web_gpt"], PURPLE, "v"),
}
# A generated task has the colour of the set whose shape it has; the two are in no figure together.
TASKS |= {
    mini: replace(look, name=title)
    for (mini, title), look in zip(titles.MINI_TASKS.items(), TASKS.values(), strict=True)
}
_SPARE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, OLIVE, WINE, GREY)
_MARKERS = "o^sDvP<X>*"
_VARIANT_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (1, 1)), (0, (4, 2)), (0, (6, 1, 2, 1)))


def looks_of(names: Sequence[str], known: dict[str, Look]) -> dict[str, Look]:
    """A look for every name; names that are not known get, in their order, what the others leave."""
    used = {known[name].marker for name in names if name in known}
    spare = [(colour, marker) for colour, marker in zip(_SPARE, _MARKERS, strict=True) if marker not in used]
    spare = spare or list(zip(_SPARE, _MARKERS, strict=True))
    unknown = sorted(set(names) - set(known))
    own = {name: Look(name, *spare[index % len(spare)]) for index, name in enumerate(unknown)}
    return {name: known.get(name) or own[name] for name in names}


def variant_look(look: Look, index: int) -> Look:
    """The look of a method's further settings: its colour, a hollow marker and another line."""
    if index == 0:
        return look
    return replace(look, hollow=True, line=_VARIANT_LINES[index % len(_VARIANT_LINES)])
